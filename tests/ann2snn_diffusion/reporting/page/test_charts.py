import re
from dataclasses import replace

import pytest

from ann2snn_diffusion.evaluation.noise_strata import NoiseStratum
from ann2snn_diffusion.reporting.page.charts import HIGH, LEFT, energy_chart, error_chart, spikes_chart
from tests.ann2snn_diffusion.reporting.test_costs_table import CONV, COSTS, SITE


def test_heights_are_energies() -> None:
    blocks = [replace(CONV, name=f"down_blocks.{number}.conv", accumulates=500 * number) for number in range(3)]
    chart = energy_chart(replace(COSTS, synapses=(*blocks, CONV)))
    assert [column.ann for column in chart.columns] == [HIGH] * 4
    assert [column.snn / HIGH for column in chart.columns] == pytest.approx([0, 450 / 4600, 900 / 4600, 1800 / 4600])
    assert chart.columns[2].title == "down_blocks.2.conv: SNN 900 pJ, ANN 4.6 nJ"
    assert {mark.text for mark in chart.marks} == {"0", "1 nJ", "2 nJ", "3 nJ", "4 nJ"}


def test_blocks_have_a_label_where_there_is_room() -> None:
    names = [f"down_blocks.0.{number}" for number in range(3)] + ["mid_block.conv", "conv_out"]
    chart = energy_chart(replace(COSTS, synapses=tuple(replace(CONV, name=name) for name in names)))
    assert [block.text for block in chart.blocks] == ["down 0", "", ""]
    assert chart.blocks[1].x == LEFT + 3 * chart.pitch


def test_a_cell_is_as_strong_as_its_site_fires() -> None:
    sites = (replace(SITE, by_stratum=(4.0, 1.0)), replace(SITE, name="quiet.neuron", by_stratum=(0.0, 0.0)))
    chart = spikes_chart(replace(COSTS, sites=sites, strata=(0, 500)))
    assert [cell.strength for cell in chart.cells] == [0.5, 1.0, 0.25, 0.5, 0.0, 0.0]
    assert [row.text for row in chart.rows] == ["mean", "0", "500"]
    assert chart.cells[2].title == "conv, from 500: 1.00"
    assert chart.most == 4.0


def test_a_silent_network_has_cells_too() -> None:
    silent = replace(SITE, by_time_step=(0.0,), by_stratum=(0.0,))
    assert [cell.strength for cell in spikes_chart(replace(COSTS, sites=(silent,))).cells] == [0, 0]


def test_errors_fall_by_decades() -> None:
    chart = error_chart([NoiseStratum(0, 10, 0.01, 1), NoiseStratum(10, 1000, 0.0001, 1)])
    heights = [float(height) for height in re.findall(r"V([\d.]+)", chart.path)]
    assert heights == [0, HIGH]
    assert [mark.text for mark in chart.marks] == ["0.0001", "0.001", "0.01"]
    assert chart.columns[1].text == "10 … 999: 0.0001"
    assert error_chart([NoiseStratum(0, 10, 0.0, 1)]).marks
