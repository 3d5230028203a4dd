"""A threshold search as tables for the terminal."""

from __future__ import annotations

import math

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ann2snn_diffusion.reporting.costs_table import ENERGY_NOTE
from ann2snn_diffusion.search.journal import Trial
from ann2snn_diffusion.search.result import Search

SHOWN = 10


def print_search(console: Console, search: Search) -> None:
    """What was tried, the winner's factors, and the verdict on held-out data."""
    console.print(curve_table(search) if len(search.groups) == 1 else winner_table(search))
    best, base = search.winner, search.trials[0]
    console.print(
        f"{len(search.trials)} settings tried, best: {search.objective} {best.value:.5g}, "
        f"{base.value:.5g} at factor 1; spikes {search.relative_spikes(best) - 1:+.2%}{energy_of(base, best)}",
        soft_wrap=True,
    )
    console.print(verdict_line(search), soft_wrap=True)


def energy_of(base: Trial, best: Trial) -> str:
    """Energy of both as shares of the ANN's; nothing where a journal of an earlier version did not count it."""
    if math.isnan(base.energy_share) or math.isnan(best.energy_share):
        return ""
    return f", energy {base.energy_share:.4f} → {best.energy_share:.4f} of the ANN's ({ENERGY_NOTE})"


def curve_table(search: Search) -> Table:
    """One factor: a row a setting, by factor; where there are many, the best ones and factor 1."""
    (group,) = search.groups
    shown = sorted(_best(search), key=lambda one: one.guidance[group])
    rows = Table("factor", search.objective, "relative to 1", "spikes", box=SIMPLE_HEAD)
    for one in shown:
        mark = " ← best" if one is search.winner else ""
        ratio = "not finite" if math.isnan(one.value) else f"{search.relative_value(one):.4f}{mark}"
        rows.add_row(f"{one.guidance[group]:.4g}", f"{one.value:.5g}", ratio, f"{search.relative_spikes(one) - 1:+.2%}")
    return rows


def winner_table(search: Search) -> Table:
    """Several factors: those of the winner, a row a group."""
    rows = Table("group", "factor", box=SIMPLE_HEAD)
    for group, factor in search.winner.guidance.items():
        rows.add_row(group, f"{factor:.4g}")
    return rows


def verdict_line(search: Search) -> str:
    """What the held-out data say, and what is stored."""
    verdict = search.verdict
    if verdict is None:
        return "Nothing tried is better than factor 1; factor 1 is stored."
    measured = f"Held out, {verdict.count} others: {search.objective} {verdict.at_one:.5g} → {verdict.at_winner:.5g}, "
    if verdict.interval is None:
        return measured + "not finite; factor 1 is stored."
    low, high = verdict.interval
    measured += f"difference {verdict.difference:+.3g} ({low:+.3g} … {high:+.3g})"
    measured += f", spikes weigh {-verdict.saved * abs(verdict.at_one):+.3g}: " if verdict.saved else ": "
    gain = high < 0 or (verdict.wins and verdict.saved)
    told = "a gain" if gain else "a loss" if low > 0 else "no difference beyond chance"
    return measured + told + ("; the winner's factors are stored." if verdict.wins else "; factor 1 is stored.")


def _best(search: Search) -> list[Trial]:
    """Those of least value, and in any case factor 1 and the winner."""
    worse_last = sorted(search.trials, key=lambda one: math.inf if math.isnan(one.value) else one.value)
    return [*worse_last[:SHOWN], *(one for one in worse_last[SHOWN:] if one in (search.trials[0], search.winner))]
