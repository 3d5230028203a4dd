"""Plots of a threshold search as PNG; everything relative to factor 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ann2snn_diffusion.reporting.costs_table import ENERGY_NOTE
from ann2snn_diffusion.search.journal import Trial
from ann2snn_diffusion.search.result import Search

CLEAR_LOSS = 1.5
"""Objective relative to factor 1 from which a map's colours do not tell values apart."""


def plot_curve(path: Path, search: Search, title: str) -> None:
    """Objective and spikes over the one factor that was searched."""
    (group,) = search.groups
    found = _finite(search)
    found.sort(key=lambda trial: trial.guidance[group])
    factors = [trial.guidance[group] for trial in found]
    figure = Figure(figsize=(7, 5), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    panels[0].plot(factors, [search.relative_value(one) for one in found], "o-", color="tab:blue", markersize=4)
    panels[1].plot(factors, [search.relative_spikes(one) for one in found], "o-", color="tab:orange", markersize=4)
    stored = search.stored
    panels[0].plot(
        stored.guidance[group], search.relative_value(stored), "*", color="tab:red", markersize=14, label="stored"
    )
    for panel, label in zip(panels, (f"{search.objective}, relative", "spikes, relative"), strict=True):
        panel.axvline(1, color="grey", linewidth=1)
        panel.axhline(1, color="grey", linewidth=1)
        panel.set_ylabel(label)
        panel.grid(alpha=0.3)
    panels[0].legend(loc="best")
    panels[0].set_title(title, fontsize=10, loc="left")
    panels[1].set_xlabel("factor on the firing condition (below 1: fires at a lower charge)")
    figure.savefig(path, dpi=150)


def plot_map(path: Path, search: Search, title: str) -> None:
    """Every factor that was tried, a row a group, coloured by the objective; those that are stored stand out."""
    found = _finite(search)
    found.sort(key=lambda trial: trial.value, reverse=True)  # the better ones on top
    figure = Figure(figsize=(8, 1.6 + 0.3 * len(search.groups)), layout="constrained")
    axes = figure.subplots()
    ratios = [search.relative_value(one) for one in found]
    low = min(ratios)
    high = max(low + 1e-6, min(CLEAR_LOSS, max(ratios)))
    dots = axes.scatter(
        [one.guidance[group] for one in found for group in search.groups],
        [row for _ in found for row in range(len(search.groups))],
        c=[ratio for ratio in ratios for _ in search.groups],
        cmap="viridis", vmin=low, vmax=high, s=22,
    )  # fmt: skip
    stored = [search.guidance[group] for group in search.groups]
    axes.plot(stored, range(len(stored)), "*", color="tab:red", markersize=11, label="stored")
    axes.axvline(1, color="grey", linewidth=1)
    axes.set_yticks(range(len(search.groups)), labels=search.groups, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("factor on the firing condition (below 1: fires at a lower charge)")
    axes.set_title(f"{title}, {len(search.trials)} settings tried", fontsize=10, loc="left")
    axes.grid(alpha=0.3)
    # Above the axes: within them it would hide a dot.
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, borderaxespad=0)
    figure.colorbar(dots, ax=axes, label=f"{search.objective}, relative")
    figure.savefig(path, dpi=150)


def plot_trade_off(path: Path, search: Search, title: str) -> None:
    """Objective over energy, and the front: what no other setting beats in both."""
    base, found = search.trials[0], [trial for trial in _finite(search) if not math.isnan(trial.energy_share)]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes: Axes = figure.subplots()
    for label, trials, line, colour, size in (
        ("tried", found, "o", "lightgrey", 4),
        ("front", trade_off_front(found), "o-", "tab:blue", 4),
        ("factor 1", [base], "s", "black", 6),
        ("stored", [search.stored], "*", "tab:red", 14),
    ):
        spent, values = [one.energy_share for one in trials], [search.relative_value(one) for one in trials]
        axes.plot(spent, values, line, color=colour, markersize=size, label=label)
    axes.set_xlabel(f"energy of the synapses, share of the ANN's\n{ENERGY_NOTE}")
    axes.set_ylabel(f"{search.objective}, relative to {base.value:.4g}")
    axes.set_title(title, fontsize=10, loc="left")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    figure.savefig(path, dpi=150)


def trade_off_front(trials: Sequence[Trial]) -> list[Trial]:
    """Those that no other one beats in the objective with as little energy, by energy ascending."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda one: (one.energy_share, one.value)):
        if not front or trial.value < front[-1].value:
            front.append(trial)
    return front


def _finite(search: Search) -> list[Trial]:
    return [trial for trial in search.trials if not math.isnan(trial.value)]
