"""What a forward pass costs, SNN beside ANN, as tables for the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ann2snn_diffusion.evaluation.cost_tables import DEFAULT, INT8, INT8_INT32, CostTable
from ann2snn_diffusion.evaluation.costs import Costs

ENERGY_NOTE = "counted operations × published constants, not measured on hardware"
SHOWN_LAYERS = 5
PARTS = {"synapses": "synapses", "with element-wise work": "all", "with memory traffic too": "with_memory"}
"""Of `Spent`, by what a row is called."""


def costs_line(costs: Costs) -> str:
    """Spikes per activation and the three shares, by the default table, in a few words."""
    energy, most = costs.energy(), max((site.firing_steps for site in costs.sites), default=0)
    return (
        f"{costs.spikes_per_neuron:.2f} spikes per activation, of {most} at most; "
        f"synaptic energy {energy.share:.3f} of the ANN's, {energy.share_all:.3f} with element-wise work, "
        f"{energy.share_memory:.3f} with memory traffic too\n"
        f"({ENERGY_NOTE}; {DEFAULT.name})"
    )


def print_costs(console: Console, costs: Costs, table: CostTable, verbose: bool = False) -> None:
    """Totals first, then the layers that cost most, or all of them where ``verbose``."""
    console.print(totals_table(costs, table))
    for line in (*total_lines(costs), *peer_lines(costs, table), *excess_lines(costs, table)):
        console.print(line, soft_wrap=True)
    console.print(layers_table(costs, table, None if verbose else SHOWN_LAYERS))
    _print_note(console, table)


def totals_table(costs: Costs, table: CostTable) -> Table:
    """Energy of one image and forward pass, of a whole image, and the share."""
    passed, drawn = "a forward pass", f"an image of {costs.sampler_steps} steps"
    columns = ("energy", f"SNN, {passed}", f"ANN, {passed}", "share", f"SNN, {drawn}", f"ANN, {drawn}")
    rows = Table(*columns, box=SIMPLE_HEAD)
    for row in total_rows(costs, table):
        rows.add_row(*row)
    return rows


def total_rows(costs: Costs, table: CostTable) -> list[tuple[str, ...]]:
    """What is counted, from the synapses alone to all: SNN, ANN, share, and both for an image of all steps."""
    energy, steps, rows = costs.energy(table), costs.sampler_steps, []
    for title, part in PARTS.items():
        snn, ann = getattr(energy.snn, part), getattr(energy.ann, part)
        share = f"{snn / ann:.3f}" if ann else "–"
        rows.append((title, joules(snn), joules(ann), share, joules(steps * snn), joules(steps * ann)))
    return rows


def total_lines(costs: Costs) -> list[str]:
    """What was counted in one forward pass."""
    return [
        f"{costs.spikes_per_neuron:.2f} spikes per activation, {costs.spikes / 1e6:.3g} M spikes; "
        f"{costs.activation_sparsity:.1%} of all firing steps are silent",
        f"accumulates {costs.accumulates / 1e6:.4g} M, multiply-accumulates {costs.multiply_accumulates / 1e6:.4g} M; "
        f"the ANN's multiply-accumulates {costs.ann_multiply_accumulates / 1e6:.4g} M",
    ]


def peer_lines(costs: Costs, table: CostTable) -> list[str]:
    """The same ANN in int8 with zeros skipped, beside the SNN in int8 and by the chosen table."""
    if costs.ann_effective is None:
        return [
            "folded, without its ANN: counted on states of the SNN's own sampling; what its ANN would cost in int8, "
            "zeros skipped, could not be counted"
        ]
    left = costs.ann_effective / max(1, costs.ann_multiply_accumulates)
    lines = [f"Synapses in int8, the ANN with zeros skipped, {left:.1%} of its multiply-accumulates left:"]
    for one in (INT8, INT8_INT32):
        snn, ann = costs.energy(one).snn.synapses, one.multiply_accumulate * costs.ann_effective
        lines.append(f"  by the table {one.name}: SNN {joules(snn)}, ANN {joules(ann)}{_share(snn, ann)}")
    if table not in (INT8, INT8_INT32):
        snn, ann = costs.energy(table).snn.synapses, INT8_INT32.multiply_accumulate * costs.ann_effective
        lines.append(
            f"  the SNN by {table.name}, {joules(snn)}, beside that ANN by {INT8_INT32.name}{_share(snn, ann)}"
        )
    return lines


def _share(snn: float, ann: float) -> str:
    return f", share {snn / ann:.2f}" if ann else ""


def excess_lines(costs: Costs, table: CostTable) -> list[str]:
    """Where the SNN costs more than its ANN."""
    energy = costs.energy(table)
    spent = {title: (getattr(energy.snn, part), getattr(energy.ann, part)) for title, part in PARTS.items()}
    found = [
        f"{title.capitalize()}: the SNN costs {snn / ann:.2f} times what its ANN costs."
        for title, (snn, ann) in spent.items()
        if snn > ann > 0
    ]
    dearer = [name for name, one in costs.layers(table).items() if one.share > 1]
    if dearer:
        found.append(f"Layers that cost more than in the ANN: {len(dearer)}, first {dearer[0]}.")
    return found


def layers_table(costs: Costs, table: CostTable, shown: int | None = None) -> Table:
    """A row a synapse, in the order of execution; or the ``shown`` ones that cost the SNN most, those first."""
    energies = costs.layers(table)
    synapses = list(costs.synapses)
    if shown is not None:
        synapses = sorted(synapses, key=lambda one: -energies[one.name].snn.synapses)[:shown]
    title = None if shown is None else f"The {len(synapses)} layers that cost most"
    columns = ("layer", "spikes per activation", "accumulates", "MACs", "SNN", "ANN", "share")
    rows = Table(*columns, title=title, title_justify="left", box=SIMPLE_HEAD)
    for synapse in synapses:
        energy = energies[synapse.name]
        rows.add_row(
            synapse.name,
            f"{synapse.spikes_per_neuron:.2f}" if synapse.neurons else "analog",
            f"{synapse.accumulates:,.0f}",
            f"{synapse.multiply_accumulates:,}",
            joules(energy.snn.synapses),
            joules(energy.ann.synapses),
            f"{energy.share:.3f}" if energy.ann.synapses else "–",
        )
    return rows


def joules(picojoules: float) -> str:
    """pJ with the prefix that leaves one to three digits before the point."""
    for prefix, size in (("J", 1e12), ("mJ", 1e9), ("µJ", 1e6), ("nJ", 1e3)):
        if picojoules >= size:
            return f"{picojoules / size:.3g} {prefix}"
    return f"{picojoules:.3g} pJ"


def _print_note(console: Console, table: CostTable) -> None:
    console.print(f"{ENERGY_NOTE}; {table.name}", style="dim", soft_wrap=True)
