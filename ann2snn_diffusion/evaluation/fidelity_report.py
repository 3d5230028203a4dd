"""How close a spiking network stays to its ANN: at every site, in every noise stratum."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from statistics import geometric_mean
from typing import Any

from ann2snn_diffusion.evaluation.cost_tables import DEFAULT
from ann2snn_diffusion.evaluation.costs import Costs
from ann2snn_diffusion.evaluation.noise_strata import NoiseStratum, low_noise, relative_error
from ann2snn_diffusion.evaluation.site_statistics import Comparison, SiteReport
from ann2snn_diffusion.evaluation.synapse_report import SynapseReport

SMALLEST = 1e-12
"""Relative error that smaller ones count as."""


@dataclass(frozen=True)
class FidelityReport:
    """What was measured; `to_dict` is what conversion_report.json holds under these names."""

    sites: tuple[SiteReport, ...]
    costs: Costs
    """What a forward pass costs: counted in the same passes."""
    strata: tuple[NoiseStratum, ...]
    epsilon_error: float
    """Σ(ε_SNN − ε_ANN)² / Σε_ANN² over all diffusion timesteps, each counting the same."""
    epsilon_error_within: float | None
    """Half the width of its 95 % interval; None where a stratum has a single state."""
    low_noise_end: int
    """First diffusion timestep that is as noisy as DDPM's 50."""
    epsilon_error_low_noise: float
    """The same over diffusion timesteps below it."""
    firing_rate: float
    """Spikes of either sign per neuron and time step, every diffusion timestep counting the same."""

    @property
    def synapses(self) -> tuple[SynapseReport, ...]:
        """What each synapse was counted to do."""
        return self.costs.synapses

    @property
    def geometric_error(self) -> float:
        """Geometric mean of the strata's relative ε errors: a percent counts the same at every noise level."""
        return geometric_mean(max(stratum.epsilon_error, SMALLEST) for stratum in self.strata)

    @property
    def spike_driven(self) -> float:
        """Share of the synaptic operations that are driven by spikes, 0 … 1."""
        driven = sum(synapse.operations for synapse in self.synapses if synapse.driven_by == "spikes")
        return driven / max(1, sum(synapse.operations for synapse in self.synapses))

    def figures(self) -> dict[str, float]:
        """The totals alone."""
        names = ("epsilon_error", "epsilon_error_low_noise", "firing_rate")
        return {name: getattr(self, name) for name in names} | self.costs.figures()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        spikes = {site.name: site.spikes_per_neuron for site in self.costs.sites}
        return {
            "sites": [asdict(site) | {"spikes_per_neuron": spikes[site.name]} for site in self.sites],
            "synapses": [asdict(synapse) for synapse in self.synapses],
            "strata": [asdict(stratum) for stratum in self.strata],
            **self.figures(),
            "epsilon_error_within": self.epsilon_error_within,
            "cost_table": DEFAULT.name,
            "spike_driven": self.spike_driven,
        }


def summarise(
    comparison: Comparison, strata: tuple[NoiseStratum, ...], within: float | None, low_noise_end: int, costs: Costs
) -> FidelityReport:
    """The report of a comparison whose states were spread over the strata; for ``within`` see `FidelityReport`."""
    rates = {site.name: site.spikes_per_neuron / site.firing_steps for site in costs.sites}
    return FidelityReport(
        sites=tuple(replace(site, firing_rate=rates[site.name]) for site in comparison.sites),
        costs=costs,
        strata=strata,
        epsilon_error=relative_error(strata),
        epsilon_error_within=within,
        low_noise_end=low_noise_end,
        epsilon_error_low_noise=relative_error(low_noise(strata, low_noise_end)),
        firing_rate=1 - costs.activation_sparsity,
    )
