"""What a forward pass of a converted network costs beside its ANN's: counts, and from them energy by a table of costs.

Mean over all diffusion timesteps, each counting the same, as a sampler with uniform steps visits them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ann2snn_diffusion.evaluation.cost_tables import DEFAULT, CostTable, cost_table
from ann2snn_diffusion.evaluation.element_wise import ElementWise
from ann2snn_diffusion.evaluation.energy import Energy, element_wise_energy, synapse_energy
from ann2snn_diffusion.evaluation.network_layout import NetworkLayout, Population, Synapse
from ann2snn_diffusion.evaluation.noise_strata import state_weights, stratum_of
from ann2snn_diffusion.evaluation.spike_count import Counts
from ann2snn_diffusion.evaluation.synapse_report import SynapseReport


@dataclass(frozen=True)
class SiteSpikes:
    """What the neurons of one site fire in one forward pass."""

    name: str
    neurons: int
    """Membranes of one image; a pair for both signs, or two that take turns, are one."""
    firing_steps: int
    by_time_step: tuple[float, ...]
    """Spikes of either sign per neuron, at each of the T time steps."""
    by_stratum: tuple[float, ...]
    """Spikes per neuron, in each noise stratum."""
    trains: tuple[float, ...]
    """Share of neurons that fire 0, 1, … spikes."""
    operations: float
    """Of the synapses that its spikes reach, if all inputs were dense; where several sites drive one, equal parts."""

    @property
    def spikes_per_neuron(self) -> float:
        """Spikes of either sign that one neuron fires, all time steps together."""
        return sum(self.by_time_step)


@dataclass(frozen=True)
class Costs:
    """All that was counted, in the order of execution, per image and forward pass."""

    sites: tuple[SiteSpikes, ...]
    synapses: tuple[SynapseReport, ...]
    element_wise: tuple[ElementWise, ...]
    """Of the ANN; the SNN does it ``ticks`` times."""
    ticks: int
    footprint: int
    """Bytes of all parameters and buffers, corrections beside the weights included."""
    sampler_steps: int
    """Forward passes behind an image."""
    strata: tuple[int, ...]
    """First diffusion timestep of each noise stratum."""
    raster: Mapping[str, Tensor] = field(compare=False, repr=False)
    """By site, spikes {−1, 0, 1} of a few neurons in one of the states, [firing steps, neurons]."""

    @property
    def accumulates(self) -> float:
        """Of the SNN: each spike times the synapses that it reaches."""
        return sum(synapse.accumulates for synapse in self.synapses)

    @property
    def multiply_accumulates(self) -> int:
        """Of the SNN: what stays analog."""
        return sum(synapse.multiply_accumulates for synapse in self.synapses)

    @property
    def ann_multiply_accumulates(self) -> int:
        """Of the ANN, dense."""
        return sum(synapse.ann_multiply_accumulates for synapse in self.synapses)

    @property
    def ann_effective(self) -> float | None:
        """Those of the ANN in int8 that are not by zero; None where the ANN was not there."""
        found = [synapse.ann_effective for synapse in self.synapses]
        return None if None in found else sum(one or 0.0 for one in found)

    @property
    def spikes(self) -> float:
        """Of either sign, all sites together."""
        return sum(site.neurons * site.spikes_per_neuron for site in self.sites)

    @property
    def spikes_per_neuron(self) -> float:
        """Mean over all neurons."""
        return self.spikes / max(1, sum(site.neurons for site in self.sites))

    @property
    def activation_sparsity(self) -> float:
        """Share of all firing steps of all neurons without a spike, 0 … 1."""
        return 1 - self.spikes / max(1, sum(site.neurons * site.firing_steps for site in self.sites))

    def energy(self, table: str | CostTable = DEFAULT) -> Energy:
        """Of the whole network, by a table, its name, or a TOML file.

        Raises:
            CostTableError: see `cost_table`.
        """
        costs = cost_table(table) if isinstance(table, str) else table
        work = (element_wise_energy(one, self.ticks, costs) for one in self.element_wise)
        return sum((*self.layers(costs).values(), *work), Energy())

    def layers(self, table: CostTable) -> dict[str, Energy]:
        """Of every synapse, with the neurons before it, by name."""
        return {synapse.name: synapse_energy(synapse, table) for synapse in self.synapses}

    def figures(self) -> dict[str, float]:
        """The totals that stand beside a firing rate, with the default table."""
        energy = self.energy()
        return {
            "spikes_per_neuron": self.spikes_per_neuron,
            "energy_share": energy.share,
            "energy_share_all": energy.share_all,
            "energy_share_memory": energy.share_memory,
        }


def costs_of(
    layout: NetworkLayout,
    counts: Counts,
    ann_effective: Mapping[str, Tensor] | None,
    diffusion_timesteps: Tensor,
    bounds: Sequence[int],
    sampler_steps: int,
) -> Costs:
    """What was counted on N states of all noise strata, averaged over diffusion timesteps.

    Args:
        ann_effective: by synapse, multiply-accumulates of each state that are not by zero, [N]; where there are none
            of a synapse, it counts as dense. None: the ANN is gone.
        diffusion_timesteps: of each state, int64 [N]; every stratum needs a state.
        bounds: of the noise strata, see `noise_strata`.
        sampler_steps: forward passes behind an image.
    """
    stratum, weights = stratum_of(diffusion_timesteps, bounds), state_weights(diffusion_timesteps, bounds)
    driven: Counter[str] = Counter()
    for synapse in layout.synapses:
        driven.update({site: synapse.operations / len(synapse.fan_out) for site in synapse.fan_out})
    sites = tuple(_site(name, one, counts, stratum, weights, driven[name]) for name, one in layout.populations.items())
    spikes = {site.name: site.neurons * site.spikes_per_neuron for site in sites}
    drives = Counter(site for synapse in layout.synapses for site in synapse.fan_out)
    synapses = []
    for synapse in layout.synapses:
        parts = {site: 1 / drives[site] for site in synapse.fan_out}
        effective = None if ann_effective is None else _effective(synapse, ann_effective.get(synapse.name), weights)
        accumulates = (weights @ counts.accumulates[synapse.name]).item() if parts else 0.0
        received = sum(part * spikes[site] for site, part in parts.items())
        synapses.append(_synapse(synapse, layout, parts, received, accumulates, effective))
    return Costs(
        sites, tuple(synapses), layout.element_wise, layout.ticks, layout.footprint, sampler_steps, tuple(bounds[:-1]),
        counts.raster,
    )  # fmt: skip


def _effective(synapse: Synapse, found: Tensor | None, weights: Tensor) -> float:
    if not synapse.in_ann:
        return 0.0
    return float(synapse.operations) if found is None else (weights @ found).item()


def _site(
    name: str, population: Population, counts: Counts, stratum: Tensor, weights: Tensor, operations: float
) -> SiteSpikes:
    size, spikes = population.size, counts.spikes[name]
    of_state = spikes.sum(0) / size
    by_stratum = [of_state[stratum == index].mean().item() for index in range(int(stratum.max()) + 1)]
    return SiteSpikes(
        name=name,
        neurons=size,
        firing_steps=population.firing_steps,
        by_time_step=tuple((spikes @ weights / size).tolist()),
        by_stratum=tuple(by_stratum),
        trains=tuple((weights @ counts.trains[name] / size).tolist()),
        operations=operations,
    )


def _synapse(
    synapse: Synapse,
    layout: NetworkLayout,
    parts: Mapping[str, float],
    spikes: float,
    accumulates: float,
    effective: float | None,
) -> SynapseReport:
    before = [(layout.populations[site], part) for site, part in parts.items()]
    ticks = layout.ticks if parts else 0
    return SynapseReport(
        name=synapse.name,
        driven_by="spikes" if parts else "analog",
        operations=synapse.operations,
        ann_multiply_accumulates=synapse.operations if synapse.in_ann else 0,
        ann_effective=effective,
        multiply_accumulates=0 if parts else synapse.runs * synapse.operations,
        accumulates=accumulates,
        spikes=spikes,
        neurons=sum(part * one.size for one, part in before),
        membrane_updates=sum(part * one.size * one.firing_steps for one, part in before),
        charges=sum(part * one.charges for one, part in before),
        offset_multiply_accumulates=2 * ticks * synapse.inputs if synapse.product else 0,
        offset_accumulates=0 if synapse.product else ticks * synapse.outputs,
        inputs=synapse.inputs,
        weights=synapse.weights,
        outputs=synapse.outputs,
    )
