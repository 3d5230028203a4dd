"""Spikes and what they do, counted one by one on states: the one counter of reports, of the search and of inspection.

A spike of either sign is an accumulate at every synapse that it reaches. The synchronous schedule computes an attention
product anew at every tick, from all spikes so far: there a spike of tick t is added T − t + 1 times.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ann2snn_diffusion.diffusion.memory import images_at_once
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.fan_out import weighted_count
from ann2snn_diffusion.evaluation.fired_spikes import Fired, fired_spikes
from ann2snn_diffusion.evaluation.network_layout import NetworkLayout
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration.observe import visiting

SHOWN_NEURONS = 24
"""Neurons of a site whose spikes are kept one by one."""


@dataclass(frozen=True)
class Counts:
    """What was counted on N states, float64 on the CPU.

    Attributes:
        spikes: by site, of either sign, at each time step, [T, N].
        trains: by site, how many neurons fired 0, 1, … spikes, [N, firing steps + 1].
        accumulates: by synapse, [N].
        raster: by site, spikes {−1, 0, 1} of a few neurons in one of the states, [firing steps, neurons].
    """

    spikes: Mapping[str, Tensor]
    trains: Mapping[str, Tensor]
    accumulates: Mapping[str, Tensor]
    raster: Mapping[str, Tensor]

    def spikes_per_image(self) -> float:
        """Spikes of all sites together per forward pass, mean over states."""
        return sum(spikes.sum(0).mean().item() for spikes in self.spikes.values())


class SpikeCounter:
    """Is told the spikes of each site, some states at a time, always in the same order."""

    def __init__(self, layout: NetworkLayout) -> None:
        self.reached = defaultdict(list)
        for synapse in layout.synapses:
            for site, reached in synapse.fan_out.items():
                self.reached[site].append((synapse, reached))
        self.spikes: dict[str, list[Tensor]] = defaultdict(list)
        self.trains: dict[str, list[Tensor]] = defaultdict(list)
        self.accumulates: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
        self.raster: dict[str, Tensor] = {}

    def add(self, site: str, neuron: SpikingNeuron, value: Tensor) -> Fired:
        """Count what a site fires for ``value`` [S·B, …], and return it."""
        fired = fired_spikes(neuron, value, SHOWN_NEURONS)
        self.raster.setdefault(site, fired.shown)
        self.spikes[site].append(fired.by_step.unflatten(0, (neuron.spec.time_steps, -1)).sum(1))
        self.trains[site].append(fired.lengths)
        for synapse, reached in self.reached[site]:
            anew = fired.added_anew if synapse.product else None
            added = fired.counts if anew is None else anew
            self.accumulates[synapse.name, site].append(weighted_count(added, reached))
        return fired

    def counts(self) -> Counts:
        """All that was counted."""
        accumulates: dict[str, Tensor] = {}
        for (synapse, _site), parts in self.accumulates.items():
            found = torch.cat(parts)
            accumulates[synapse] = accumulates[synapse] + found if synapse in accumulates else found
        spikes = {site: torch.cat(parts, 1) for site, parts in self.spikes.items()}
        return Counts(spikes, {site: torch.cat(parts) for site, parts in self.trains.items()}, accumulates, self.raster)


@torch.no_grad()
def count_spikes(unet: SpikingUNet2DModel, layout: NetworkLayout, states: NoisyStates) -> Counts:
    """What a network fires on states."""
    counter = SpikeCounter(layout)

    def count(name: str, neuron: SpikingNeuron, value: Tensor, _output: Tensor) -> None:
        counter.add(name, neuron, value)

    with visiting(after=[(neuron, partial(count, name, neuron)) for name, neuron in unet.neurons().items()]):
        for some in states.split(images_at_once(unet)):
            unet(*some.arguments())
    return counter.counts()
