"""What the page says in words: its three figures, and how the network came about."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ann2snn_diffusion.evaluation.cost_tables import DEFAULT
from ann2snn_diffusion.evaluation.figures import ANN, SNN
from ann2snn_diffusion.models.provenance import Entry
from ann2snn_diffusion.reporting.costs_table import ENERGY_NOTE
from ann2snn_diffusion.reporting.page.report import Report
from ann2snn_diffusion.reporting.page.tables import NOTHING, interval

FIGURES = {
    "epsilon_error": "relative ε error",
    "epsilon_error_low_noise": "the same at low noise",
    "firing_rate": "firing rate, per neuron and time step",
    "spikes_per_neuron": "spikes per activation",
    "energy_share": "energy, share of the ANN's",
    "energy_share_all": "with element-wise work",
    "energy_share_memory": "and memory traffic",
}
"""What figures of the provenance are called; others keep their names."""

MANY = 1000
"""From which on figures have no decimals."""


@dataclass(frozen=True)
class Card:
    """One of the figures at the top."""

    title: str
    figure: str
    sentence: str
    note: str


@dataclass(frozen=True)
class Step:
    """What one command did."""

    command: str
    figures: tuple[tuple[str, str, str], ...]
    """Name, before, after."""
    settings: Mapping[str, Any]
    versions: str


def cards(report: Report) -> list[Card]:
    """Energy, error and FID, as far as they are known."""
    found = [_energy(report)]
    if report.fidelity is not None:
        found.append(_error(report.fidelity.epsilon_error, report.fidelity.epsilon_error_within))
    if report.evaluation is not None and report.evaluation.distribution is not None:
        quality, count = report.evaluation.distribution.quality, report.evaluation.settings["count"]
        found.append(Card(
            "FID", f"{quality[SNN].fid:.2f}",
            f"How far {count:,} of its images are from real ones; 0 would be no difference. From the same noise, its "
            f"ANN has {quality[ANN].fid:.2f}.",
            f"95 %: {interval(quality[SNN].fid_interval)}; ANN: {interval(quality[ANN].fid_interval)}",
        ))  # fmt: skip
    return found


def steps(provenance: tuple[Entry, ...]) -> list[Step]:
    """What every command did, in order."""
    return [
        Step(
            entry["command"], _figures(_mapping(entry, "before"), _mapping(entry, "after")), entry["settings"],
            ", ".join(f"{name} {version}" for name, version in _mapping(entry, "versions").items()),
        )
        for entry in provenance
    ]  # fmt: skip


def setting_text(value: Any) -> str:
    """A setting as it is read: lists with commas, true as yes."""
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(setting_text, value)) if isinstance(value, list) else str(value)


def percent(share: float, digits: int = 3) -> str:
    """A share in percent; the space before the sign does not break."""
    value = 100 * share
    places = max(0, digits - 1 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{places}f}\N{NO-BREAK SPACE}%"


def _energy(report: Report) -> Card:
    energy = report.costs.energy()
    shares = (energy.share, energy.share_all, energy.share_memory)
    share, of_all, with_memory = (percent(one) if one == one else NOTHING for one in shares)
    return Card(
        "Energy, share of the ANN's", share,
        f"Its layers spend {share} of what the ANN's layers spend, because a spike adds where the ANN multiplies. With "
        f"element-wise work it is {of_all}, with memory traffic as well {with_memory}.",
        f"{ENERGY_NOTE}; {DEFAULT.name}",
    )  # fmt: skip


def _error(error: float, within: float | None) -> Card:
    around = "" if within is None else f"95 %: {interval((max(0.0, error - within), error + within), '.5f')}"
    return Card(
        "Relative ε error", f"{error:.2g}" if error < 1e-4 else f"{error:.5f}",
        f"The noise that it predicts differs from what its ANN predicts by {percent(error, 2)} of that prediction's "
        "power, averaged over all noise levels.",
        around,
    )  # fmt: skip


def _mapping(entry: Entry, name: str) -> Mapping[str, Any]:
    """What an entry has under ``name``; nothing where that was not measured, or is no table."""
    found = entry.get(name)
    return found if isinstance(found, Mapping) else {}


def _figures(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    names = [name for name in dict.fromkeys((*old, *new)) if _is_number(old.get(name, new.get(name)))]
    return tuple((FIGURES.get(name, name), _shown(old.get(name)), _shown(new.get(name))) for name in names)


def _shown(value: Any) -> str:
    if not _is_number(value):
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= MANY or isinstance(value, int) else f"{value:#.4g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
