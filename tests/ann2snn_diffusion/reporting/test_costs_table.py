from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from ann2snn_diffusion.evaluation.cost_tables import DEFAULT, INT8, CostTable
from ann2snn_diffusion.evaluation.costs import Costs, SiteSpikes
from ann2snn_diffusion.evaluation.synapse_report import SynapseReport
from ann2snn_diffusion.reporting.costs_table import ENERGY_NOTE, costs_line, excess_lines, joules, print_costs

CONV = SynapseReport(
    name="conv", driven_by="spikes", operations=1000, ann_multiply_accumulates=1000, ann_effective=500,
    multiply_accumulates=0, accumulates=2000, spikes=40, neurons=20, membrane_updates=80, charges=20,
    offset_multiply_accumulates=0, offset_accumulates=50, inputs=20, weights=500, outputs=50,
)  # fmt: skip
SITE = SiteSpikes("conv.neuron", 20, 4, (1.0, 0.5, 0.3, 0.2), (2.0,), (0.1, 0.2, 0.4, 0.2, 0.1), 1000)
COSTS = Costs((SITE,), (CONV,), (), 1, 100, 25, (0,), {})


def printed(costs: Costs, table: CostTable = DEFAULT, verbose: bool = False) -> str:
    console = Console(width=120, record=True, file=StringIO())
    print_costs(console, costs, table, verbose)
    return console.export_text()


def test_a_line_beside_the_firing_rate_has_spikes_and_all_three_shares() -> None:
    energy = COSTS.energy()
    line = costs_line(COSTS)
    assert line.startswith("2.00 spikes per activation, of 4 at most; synaptic energy 0.391 of the ANN's, ")
    assert f"{energy.share_all:.3f} with element-wise work, {energy.share_memory:.3f} with memory traffic" in line
    assert ENERGY_NOTE in line


def test_energy_per_image_is_that_of_a_pass_times_the_samplers_steps() -> None:
    (row,) = (line for line in printed(COSTS).splitlines() if line.strip().startswith("synapses"))
    assert row.split() == ["synapses", "1.8", "nJ", "4.6", "nJ", "0.391", "45", "nJ", "115", "nJ"]


def test_it_says_where_the_snn_costs_more() -> None:
    assert all("Layers" not in line for line in excess_lines(COSTS, DEFAULT))
    many = replace(COSTS, synapses=(replace(CONV, accumulates=20_000),))
    text = printed(many)
    assert "Synapses: the SNN costs 3.91 times what its ANN costs." in text
    assert "Layers that cost more than in the ANN: 1, first conv." in text
    assert "by the table int8: SNN 600 pJ, ANN 115 pJ, share 5.22" in text
    assert "by the table int8-int32: SNN 2 nJ, ANN 150 pJ, share 13.33" in text
    assert "the SNN by horowitz-45nm, 18 nJ, beside that ANN by int8-int32, share 120.00" in text
    none = replace(COSTS, synapses=(replace(CONV, accumulates=0, spikes=0),))
    assert excess_lines(none, INT8) == []


def test_only_the_dearest_layers_are_shown_unless_all_are_asked_for() -> None:
    layers = tuple(replace(CONV, name=f"layer.{index}", accumulates=1000 * index) for index in range(8))
    brief, whole = (printed(replace(COSTS, synapses=layers), verbose=verbose) for verbose in (False, True))
    assert [f"layer.{index} " in brief for index in range(8)] == [False] * 3 + [True] * 5
    assert brief.index("layer.7 ") < brief.index("layer.3 ")
    assert whole.index("layer.0 ") < whole.index("layer.7 ")


@pytest.mark.parametrize(
    ("energy", "text"),
    [(0, "0 pJ"), (999, "999 pJ"), (1500, "1.5 nJ"), (2.5e8, "250 µJ"), (3e9, "3 mJ"), (4e12, "4 J")],
)
def test_energies_have_a_prefix_that_fits(energy: float, text: str) -> None:
    assert joules(energy) == text
