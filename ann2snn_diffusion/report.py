"""What a conversion did, site by site, measured on states that calibration never saw."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ann2snn_diffusion.compare import Comparison, SiteReport, SynapseReport
from ann2snn_diffusion.spec import SpikeSpec

LOW_NOISE = 50


@dataclass(frozen=True)
class ConversionReport:
    """The report of one conversion; `to_dict` is what conversion_report.json holds under these names."""

    sites: tuple[SiteReport, ...]
    synapses: tuple[SynapseReport, ...]
    epsilon_error: float
    """Σ(ε_SNN − ε_ANN)² / Σε_ANN² over uniformly drawn diffusion timesteps."""
    epsilon_error_low_noise: float
    """The same over diffusion timesteps below 50."""
    firing_rate: float
    """Mean over all neurons and time steps."""

    @property
    def spike_driven(self) -> float:
        """Share of the synaptic operations that are driven by spikes, 0 … 1."""
        driven = sum(synapse.operations for synapse in self.synapses if synapse.driven_by == "spikes")
        return driven / max(1, sum(synapse.operations for synapse in self.synapses))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dataclasses.asdict(self) | {"spike_driven": self.spike_driven}


def summarise(comparison: Comparison, low_noise: Tensor) -> ConversionReport:
    """The report of a comparison on uniformly drawn states, and on others below diffusion timestep 50.

    ``low_noise``, bool [N], tells the others.
    """

    def relative(rows: Tensor) -> float:
        return (comparison.errors[rows].sum() / comparison.powers[rows].sum().clamp(min=1e-12)).item()

    return ConversionReport(
        sites=comparison.sites,
        synapses=comparison.synapses,
        epsilon_error=relative(~low_noise),
        epsilon_error_low_noise=relative(low_noise),
        firing_rate=comparison.firing_rate,
    )


def table(report: ConversionReport, coding: str) -> Table:
    """One row per site, spiking or analog."""
    rows = Table("site", "emits", "θ", "offset", "firing rate", "saturation", "error to ANN", box=SIMPLE_HEAD)
    rows.columns[0].no_wrap = True
    for site in report.sites:
        rows.add_row(
            site.name.removesuffix(".neuron").replace(".processor", ""),
            f"{coding}, ±" if site.signed else coding,
            "{:.3g} … {:.3g}".format(*site.threshold),
            "{:.3g} … {:.3g}".format(*site.offset),
            f"{site.firing_rate:.3f}",
            f"{site.saturation:.2%}",
            f"{site.error:.2e}",
        )
    for synapse in report.synapses:
        if synapse.driven_by == "analog":
            rows.add_row(synapse.name, "[dim]analog", *["[dim]–"] * 5)
    return rows


def print_report(console: Console, report: ConversionReport, spec: SpikeSpec) -> None:
    """The table, then the totals."""
    console.print(table(report, spec.coding), width=max(console.width, 112) if not console.is_terminal else None)
    total = sum(synapse.operations for synapse in report.synapses)
    console.print(
        f"{len(report.sites)} sites spike, {spec.coding} coding, T = {spec.time_steps}, {spec.schedule}\n"
        f"relative ε error to the ANN: {report.epsilon_error:.5f} over all diffusion timesteps, "
        f"{report.epsilon_error_low_noise:.5f} below {LOW_NOISE}\n"
        f"driven by spikes: {report.spike_driven:.2%} of {total / 1e6:.1f} M synaptic operations per image; "
        f"mean firing rate {report.firing_rate:.3f}",
        soft_wrap=True,
    )
