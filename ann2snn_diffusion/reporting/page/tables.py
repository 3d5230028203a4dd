"""The page's tables: what stands in a cell, and what it is sorted by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ann2snn_diffusion.evaluation.cost_tables import DEFAULT
from ann2snn_diffusion.evaluation.figures import ANN, SNN, Distribution
from ann2snn_diffusion.reporting.costs_plots import short
from ann2snn_diffusion.reporting.costs_table import joules, total_rows
from ann2snn_diffusion.reporting.page.report import Report

NOTHING = "–"


@dataclass(frozen=True)
class TableCell:
    """What one cell shows."""

    text: str
    value: float | str | None = None
    """What its row is sorted by; None: nothing was measured, which comes last."""


@dataclass(frozen=True)
class PageTable:
    """A table of the page."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    words: int = 1
    """Columns that hold words, from the left; in all others stand numbers."""


def sites_table(report: Report) -> PageTable:
    """Every site, in the order of execution."""
    operations = sum(synapse.operations for synapse in report.costs.synapses) or 1
    measured, rows = {} if report.fidelity is None else report.fidelity.sites, []
    for number, site in enumerate(report.costs.sites):
        settings, found = report.sites[site.name], measured.get(site.name, {})
        emits = f"{'2 ' if settings.doubled else ''}{report.spec.coding}{', ±' if settings.signed else ''}"
        low, high = settings.threshold
        rows.append((
            _number(number + 1, "d"), _word(short(site.name)), _word(emits),
            _number(site.neurons, ",d"),
            _number(site.spikes_per_neuron, ".2f"),
            _number(site.operations / operations, ".2%"),
            TableCell(f"{low:.3g} … {high:.3g}", low),
            _number(found.get("error"), ".1e"),
            _number(found.get("correlation"), ".5f"),
            _number(found.get("saturation"), ".2%"),
        ))  # fmt: skip
    heads = (
        "№", "site", "fires", "neurons", "spikes per activation", "share of operations", "threshold", "error to ANN",
        "correlation", "saturated",
    )  # fmt: skip
    return PageTable("Every site, in the order of execution", heads, tuple(rows), words=3)


def layers_table(report: Report) -> PageTable:
    """Every layer with weights and every attention product, in the order of execution."""
    energies, rows = report.costs.layers(DEFAULT), []
    for number, one in enumerate(report.costs.synapses):
        energy = energies[one.name]
        spent = [TableCell(joules(part.synapses), part.synapses) for part in (energy.snn, energy.ann)]
        rows.append((
            _number(number + 1, "d"), _word(one.name), _word(one.driven_by),
            _number(one.spikes_per_neuron if one.neurons else None, ".2f"),
            _number(one.operations, ",d"),
            _number(one.accumulates, ",.0f"), _number(one.multiply_accumulates, ",d"), *spent,
            _number(energy.share if energy.ann.synapses else None, ".3f"),
        ))  # fmt: skip
    heads = (
        "№", "layer", "driven by", "spikes per activation", "operations", "accumulates", "multiply-accumulates",
        "SNN", "ANN", "share",
    )  # fmt: skip
    return PageTable("Every layer, in the order of execution; per image and forward pass", heads, tuple(rows), words=3)


def energy_table(report: Report) -> PageTable:
    """What is counted, from the synapses alone to all."""
    rows = [(_word(title), *map(TableCell, texts)) for title, *texts in total_rows(report.costs, DEFAULT)]
    heads = ("counted", "SNN", "ANN", "share", f"SNN, image of {report.costs.sampler_steps} steps", "ANN")
    return PageTable("Energy per image and forward pass", heads, tuple(rows))


def quality_table(found: Distribution) -> PageTable:
    """FID with its interval and the other figures; a row a network, and one for real images that were held out."""
    rows = []
    for title in (ANN, SNN):
        one = found.quality[title]
        texts = (
            f"{one.fid:.2f}", interval(one.fid_interval), f"{1000 * one.kid:.2f} ± {1000 * one.kid_deviation:.2f}",
            f"{one.inception_score:.2f} ± {one.inception_score_deviation:.2f}", f"{one.precision:.3f}",
            f"{one.recall:.3f}",
        )  # fmt: skip
        rows.append((_word(title), *(TableCell(text) for text in texts)))
    if found.floor is not None and found.floor_interval is not None:
        texts = (f"{found.floor:.2f}", interval(found.floor_interval), *[NOTHING] * 4)
        rows.append((_word("real images, held out"), *(TableCell(text) for text in texts)))
    heads = ("images", "FID", "95 %", "KID × 1000", "Inception Score", "precision", "recall")
    return PageTable("Distance from real images", heads, tuple(rows))


def interval(ends: tuple[float, float], spec: str = ".2f", show: Callable[[float], float] = float) -> str:
    """Both ends of an interval, as ``show`` has them."""
    return " … ".join(format(show(end), spec) for end in ends)


def _word(text: str) -> TableCell:
    return TableCell(text, text)


def _number(value: float | None, spec: str) -> TableCell:
    return TableCell(NOTHING) if value is None else TableCell(format(value, spec).replace("%", " %"), value)
