"""Where everything lies in the page's drawings, in pixels; the template draws them as SVG."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from ann2snn_diffusion.evaluation.cost_tables import DEFAULT
from ann2snn_diffusion.evaluation.costs import Costs
from ann2snn_diffusion.evaluation.noise_strata import NoiseStratum
from ann2snn_diffusion.reporting.costs_plots import short
from ann2snn_diffusion.reporting.costs_table import joules

LEFT = 64
"""For the labels of the vertical axis."""
WIDTH = 920
"""Of what lies beside it, unless columns would become too narrow or too wide."""
NARROWEST, WIDEST = 5.0, 24.0
HIGH = 200
CELL = 15
"""Height of a row of cells."""
BLOCK = re.compile(r"(down|mid|up)_block(?:s\.(\d+))?")
LABELLED = 44.0
"""Pixels that a block's label takes."""


@dataclass(frozen=True)
class Mark:
    """A label on an axis."""

    place: float
    text: str


@dataclass(frozen=True)
class Stretch:
    """A block of the network along the horizontal axis."""

    x: float
    width: float
    text: str
    """Empty where there is no room for a label."""


@dataclass(frozen=True)
class Column:
    """A layer: what ANN and SNN spend on it, as heights."""

    x: float
    ann: float
    snn: float
    title: str


@dataclass(frozen=True)
class EnergyChart:
    """Energy by layer, in the order of execution."""

    width: float
    pitch: float
    columns: tuple[Column, ...]
    blocks: tuple[Stretch, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Cell:
    """Spikes per activation of one site at one noise level; ``strength`` is 0 … 1."""

    x: float
    y: float
    strength: float
    title: str


@dataclass(frozen=True)
class SpikesChart:
    """Spikes by site and noise stratum; the row above all others is their mean."""

    width: float
    height: float
    pitch: float
    cells: tuple[Cell, ...]
    blocks: tuple[Stretch, ...]
    rows: tuple[Mark, ...]
    most: float
    """Spikes per activation of the strongest cell."""


@dataclass(frozen=True)
class ErrorChart:
    """Relative ε error by noise stratum, on a logarithmic axis."""

    width: float
    path: str
    columns: tuple[Stretch, ...]
    """A stratum each, with what is told of it."""
    marks: tuple[Mark, ...]
    starts: tuple[Mark, ...]


def energy_chart(costs: Costs) -> EnergyChart:
    """By the default table of costs."""
    energies = costs.layers(DEFAULT)
    pitch = _pitch(len(energies))
    most = max(1e-9, *(max(one.snn.synapses, one.ann.synapses) for one in energies.values()))
    columns = [
        Column(
            LEFT + number * pitch, HIGH * one.ann.synapses / most, HIGH * one.snn.synapses / most,
            f"{name}: SNN {joules(one.snn.synapses)}, ANN {joules(one.ann.synapses)}",
        )
        for number, (name, one) in enumerate(energies.items())
    ]  # fmt: skip
    marks = tuple(Mark(HIGH * (1 - value / most), joules(value) if value else "0") for value in _round_values(most))
    return EnergyChart(LEFT + pitch * len(columns), pitch, tuple(columns), _blocks(list(energies), pitch), marks)


def spikes_chart(costs: Costs) -> SpikesChart:
    """Of all sites, in the order of execution."""
    pitch = _pitch(len(costs.sites))
    most = max((spikes for site in costs.sites for spikes in site.by_stratum), default=0.0)
    rows = [Mark(0.0, "mean")] + [Mark(CELL * (row + 1.4), f"{start}") for row, start in enumerate(costs.strata)]
    cells = []
    for number, site in enumerate(costs.sites):
        found = (site.spikes_per_neuron, *site.by_stratum)
        for mark, spikes in zip(rows, found, strict=True):
            title = f"{short(site.name)}, {'mean' if mark.text == 'mean' else f'from {mark.text}'}: {spikes:.2f}"
            cells.append(Cell(LEFT + number * pitch, mark.place, min(1.0, spikes / max(most, 1e-9)), title))
    blocks = _blocks([site.name for site in costs.sites], pitch)
    return SpikesChart(
        LEFT + pitch * len(costs.sites), rows[-1].place + CELL, pitch, tuple(cells), blocks, tuple(rows), most
    )


def error_chart(strata: Sequence[NoiseStratum]) -> ErrorChart:
    """All strata are equally wide."""
    errors = [max(stratum.epsilon_error, 1e-12) for stratum in strata]
    low, high = math.floor(math.log10(min(errors))), math.ceil(math.log10(max(errors)))
    high = max(high, low + 1)
    pitch = WIDTH / len(strata)

    def height(error: float) -> float:
        return HIGH * (high - math.log10(error)) / (high - low)

    steps = [f"H{LEFT + pitch * number:.1f}V{height(error):.1f}" for number, error in enumerate(errors)]
    titles = [f"{one.start} … {one.stop - 1}: {one.epsilon_error:.2g}" for one in strata]
    return ErrorChart(
        width=LEFT + WIDTH,
        path=f"M{LEFT} {height(errors[0]):.1f}{''.join(steps)}H{LEFT + WIDTH}",
        columns=tuple(Stretch(LEFT + pitch * number, pitch, title) for number, title in enumerate(titles)),
        marks=tuple(Mark(height(10.0**power), f"{10.0**power:.{max(0, -power)}f}") for power in range(low, high + 1)),
        starts=tuple(Mark(LEFT + pitch * number, f"{one.start}") for number, one in enumerate(strata)),
    )


def _pitch(count: int) -> float:
    return max(NARROWEST, min(WIDEST, WIDTH / max(1, count)))


def _blocks(names: Sequence[str], pitch: float) -> tuple[Stretch, ...]:
    found, number = [], 0
    for text, group in groupby(names, _block):
        width = pitch * len(list(group))
        found.append(Stretch(LEFT + pitch * number, width, text if width >= LABELLED else ""))
        number += round(width / pitch)
    return tuple(found)


def _block(name: str) -> str:
    """``down 0`` of ``down_blocks.0.resnets.0.conv1``; empty outside of blocks."""
    found = BLOCK.match(name)
    return " ".join(filter(None, found.groups())) if found else ""


def _round_values(most: float) -> list[float]:
    """Three to six multiples of 1, 2 or 5 times a power of ten, from 0 to ``most``."""
    power = 10.0 ** math.floor(math.log10(most / 3))
    size = next(size * power for size in (1, 2, 5, 10) if most / (size * power) < 6)
    return [size * number for number in range(math.floor(most / size) + 1)]
