"""How close a spiking network stays to its ANN: at every site, in every noise stratum."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ann2snn_diffusion.evaluation.noise_strata import NoiseStratum, low_noise, relative_error
from ann2snn_diffusion.evaluation.site_statistics import Comparison, SiteReport, SynapseReport


@dataclass(frozen=True)
class FidelityReport:
    """What was measured; `to_dict` is what conversion_report.json holds under these names."""

    sites: tuple[SiteReport, ...]
    synapses: tuple[SynapseReport, ...]
    strata: tuple[NoiseStratum, ...]
    epsilon_error: float
    """Σ(ε_SNN − ε_ANN)² / Σε_ANN² over all diffusion timesteps, each counting the same."""
    epsilon_error_low_noise: float
    """The same over diffusion timesteps below 50."""
    firing_rate: float
    """Mean over all neurons and time steps, every stratum counting the same."""

    @property
    def spike_driven(self) -> float:
        """Share of the synaptic operations that are driven by spikes, 0 … 1."""
        driven = sum(synapse.operations for synapse in self.synapses if synapse.driven_by == "spikes")
        return driven / max(1, sum(synapse.operations for synapse in self.synapses))

    def figures(self) -> dict[str, float]:
        """The totals alone."""
        return {name: getattr(self, name) for name in ("epsilon_error", "epsilon_error_low_noise", "firing_rate")}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dataclasses.asdict(self) | {"spike_driven": self.spike_driven}


def summarise(comparison: Comparison, strata: tuple[NoiseStratum, ...]) -> FidelityReport:
    """The report of a comparison whose states were spread over the strata."""
    return FidelityReport(
        sites=comparison.sites,
        synapses=comparison.synapses,
        strata=strata,
        epsilon_error=relative_error(strata),
        epsilon_error_low_noise=relative_error(low_noise(strata)),
        firing_rate=comparison.firing_rate,
    )
