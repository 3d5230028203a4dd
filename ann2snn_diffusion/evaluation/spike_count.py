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

from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.fan_out import weighted_count
from ann2snn_diffusion.evaluation.network_layout import NetworkLayout
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration.observe import visiting

STATES_AT_A_TIME = 16
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
        self.again = layout.ticks > 1
        self.spikes: dict[str, list[Tensor]] = defaultdict(list)
        self.trains: dict[str, list[Tensor]] = defaultdict(list)
        self.accumulates: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
        self.raster: dict[str, Tensor] = {}

    def add(self, site: str, time_steps: int, spikes: Tensor) -> float:
        """Count the spike trains [firing steps, B, …] of a site, fired in ``time_steps`` ticks, and overwrite them."""
        if site not in self.raster:
            one = spikes[:, spikes.shape[1] // 2].flatten(1)
            places = torch.linspace(0, one.shape[1] - 1, SHOWN_NEURONS).long().unique()
            self.raster[site] = one[:, places.to(one.device)].to(torch.int8).cpu()
        fired = spikes.abs_()
        trains = fired.sum(0)
        # Rows in single precision, which holds their counts, then all in double: summing in double takes 15 times as
        # long on a CPU.
        by_step = fired.sum(-1).double().flatten(2).sum(2).cpu()
        self.spikes[site].append(by_step.unflatten(0, (time_steps, -1)).sum(1))
        self.trains[site].append(lengths_of(trains, len(spikes)))
        for synapse, reached in self.reached[site]:
            added = added_anew(fired, time_steps) if synapse.product and self.again else trains
            self.accumulates[synapse.name, site].append(weighted_count(added, reached))
        return by_step.sum().item()

    def counts(self) -> Counts:
        """All that was counted."""
        accumulates: dict[str, Tensor] = {}
        for (synapse, _site), parts in self.accumulates.items():
            found = torch.cat(parts)
            accumulates[synapse] = accumulates[synapse] + found if synapse in accumulates else found
        spikes = {site: torch.cat(parts, 1) for site, parts in self.spikes.items()}
        return Counts(spikes, {site: torch.cat(parts) for site, parts in self.trains.items()}, accumulates, self.raster)


def lengths_of(trains: Tensor, longest: int) -> Tensor:
    """How many of the spike counts [B, …] of each row are 0 … ``longest``: [B, longest + 1], float64 on the CPU."""
    rows = (longest + 1) * torch.arange(len(trains), device=trains.device)
    found = torch.bincount((trains.flatten(1).long() + rows[:, None]).flatten(), minlength=(longest + 1) * len(trains))
    return found.view(len(trains), -1).double().cpu()


def added_anew(fired: Tensor, time_steps: int) -> Tensor:
    """Σ_t Σ_{s ≤ t} of spikes [firing steps, B, …] over ticks t: a spike of tick s is added T − s + 1 times."""
    times = torch.arange(time_steps, 0, -1, device=fired.device).repeat_interleave(len(fired) // time_steps)
    return (fired * times.view(-1, *[1] * (fired.ndim - 1))).sum(0)


@torch.no_grad()
def count_spikes(unet: SpikingUNet2DModel, layout: NetworkLayout, states: NoisyStates) -> Counts:
    """What a network fires on states."""
    counter = SpikeCounter(layout)

    def count(name: str, neuron: SpikingNeuron, value: Tensor, _output: Tensor) -> None:
        counter.add(name, neuron.spec.time_steps, neuron.spikes(value))

    with visiting(after=[(neuron, partial(count, name, neuron)) for name, neuron in unet.neurons().items()]):
        for first in range(0, len(states), STATES_AT_A_TIME):
            unet(*states.arguments(slice(first, first + STATES_AT_A_TIME)))
    return counter.counts()
