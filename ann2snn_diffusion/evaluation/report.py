"""What a conversion did, site by site, measured on states that calibration never saw."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ann2snn_diffusion.evaluation.noise_levels import LOW_NOISE, NoiseLevel, low_noise, relative_error
from ann2snn_diffusion.evaluation.site_statistics import Comparison, SiteReport, SynapseReport
from ann2snn_diffusion.spiking.spec import SpikeSpec

WIDE = 112


@dataclass(frozen=True)
class ConversionReport:
    """The report of one conversion; `to_dict` is what conversion_report.json holds under these names."""

    sites: tuple[SiteReport, ...]
    synapses: tuple[SynapseReport, ...]
    levels: tuple[NoiseLevel, ...]
    epsilon_error: float
    """Σ(ε_SNN − ε_ANN)² / Σε_ANN² over all diffusion timesteps, each counting the same."""
    epsilon_error_low_noise: float
    """The same over diffusion timesteps below 50."""
    firing_rate: float
    """Mean over all neurons and time steps, every noise level counting the same."""

    @property
    def spike_driven(self) -> float:
        """Share of the synaptic operations that are driven by spikes, 0 … 1."""
        driven = sum(synapse.operations for synapse in self.synapses if synapse.driven_by == "spikes")
        return driven / max(1, sum(synapse.operations for synapse in self.synapses))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dataclasses.asdict(self) | {"spike_driven": self.spike_driven}


def summarise(comparison: Comparison, levels: tuple[NoiseLevel, ...]) -> ConversionReport:
    """The report of a comparison whose states were spread over the noise levels."""
    return ConversionReport(
        sites=comparison.sites,
        synapses=comparison.synapses,
        levels=levels,
        epsilon_error=relative_error(levels),
        epsilon_error_low_noise=relative_error(low_noise(levels)),
        firing_rate=comparison.firing_rate,
    )


def table(report: ConversionReport, coding: str, wide: bool = True) -> Table:
    """One row per site, spiking or analog; without θ and offset where the terminal is not ``wide``."""
    ranges = ["θ", "offset"] if wide else []
    rows = Table("site", "emits", *ranges, "firing rate", "saturation", "error to ANN", box=SIMPLE_HEAD)
    for column in rows.columns:
        column.no_wrap = True
    for site in report.sites:
        extremes = [f"{low:.3g} … {high:.3g}" for low, high in (site.threshold, site.offset)] if wide else []
        rows.add_row(
            site.name.removesuffix(".neuron").replace(".processor", ""),
            f"{'2 ' if site.doubled else ''}{coding}{', ±' if site.signed else ''}",
            *extremes,
            f"{site.firing_rate:.3f}",
            f"{site.saturation:.2%}",
            f"{site.error:.1e}",
        )
    for synapse in report.synapses:
        if synapse.driven_by == "analog":
            rows.add_row(synapse.name, "[dim]analog", *["[dim]–"] * (len(rows.columns) - 2))
    return rows


def print_report(console: Console, report: ConversionReport, spec: SpikeSpec) -> None:
    """The table, then the totals."""
    console.print(table(report, spec.coding, wide=console.width >= WIDE))
    total = sum(synapse.operations for synapse in report.synapses)
    doubled = sum(site.doubled for site in report.sites)
    console.print(
        f"{len(report.sites)} sites spike{f', {doubled} doubled' if doubled else ''}, "
        f"{spec.coding} coding, T = {spec.time_steps}, {spec.schedule}\n"
        f"relative ε error to the ANN: {report.epsilon_error:.5f} over all diffusion timesteps, "
        f"{report.epsilon_error_low_noise:.5f} below {LOW_NOISE}\n"
        f"driven by spikes: {report.spike_driven:.2%} of {total / 1e6:.1f} M synaptic operations per image; "
        f"mean firing rate {report.firing_rate:.3f}",
        soft_wrap=True,
    )


def print_before_and_after(console: Console, before: ConversionReport, after: ConversionReport) -> None:
    """Relative ε error by noise level before and after a training, then the totals."""
    rows = Table("diffusion timesteps", "relative ε error, before", "after", "ratio", box=SIMPLE_HEAD)
    for old, new in zip(before.levels, after.levels, strict=True):
        errors = old.epsilon_error, new.epsilon_error
        rows.add_row(f"{old.start} … {old.stop - 1}", *(f"{error:.5f}" for error in errors), _ratio(*errors))
    console.print(rows)
    for name, field in {
        "relative ε error, all diffusion timesteps": "epsilon_error",
        f"relative ε error below {LOW_NOISE}": "epsilon_error_low_noise",
        "mean firing rate": "firing_rate",
    }.items():
        figures = getattr(before, field), getattr(after, field)
        console.print(f"{name}: {figures[0]:.5f} → {figures[1]:.5f} ({_ratio(*figures)})", soft_wrap=True)


def _ratio(before: float, after: float) -> str:
    return f"{after / before:.2f} ×" if before else "–"
