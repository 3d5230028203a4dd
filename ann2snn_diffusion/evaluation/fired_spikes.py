"""What a population of neurons fires for what arrives: spike by spike, or level by level where each has one train."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ann2snn_diffusion.spiking.neuron import SpikingNeuron


@dataclass(frozen=True)
class Fired:
    """The spikes of a population in B rows.

    Attributes:
        sums: Σ_t A_t·s_t of each neuron, in units, [B, …].
        counts: spikes of either sign of each neuron, [B, …].
        by_step: spikes of either sign at each firing step, [firing steps, B], float64 on the CPU.
        lengths: how many neurons fired 0, 1, … spikes, [B, firing steps + 1], float64 on the CPU.
        shown: spikes {−1, 0, 1} of a few neurons in one row, [firing steps, neurons].
        added_anew: Σ_t Σ_{s ≤ t} of the spikes of ticks, [B, …]; None where there is one tick for a synapse.
    """

    sums: Tensor
    counts: Tensor
    by_step: Tensor
    lengths: Tensor
    shown: Tensor
    added_anew: Tensor | None = None


@torch.no_grad()
def fired_spikes(neuron: SpikingNeuron, value: Tensor, shown: int) -> Fired:
    """What ``neuron`` fires for ``value`` [S·B, …], spikes of ``shown`` neurons one by one."""
    levels = neuron.levels_with_one_train(value)
    return _by_spike(neuron, value, shown) if levels is None else _by_level(neuron, levels, shown)


def _by_level(neuron: SpikingNeuron, levels: Tensor, shown: int) -> Fired:
    lowest, highest = neuron.level_range
    every = torch.arange(lowest, highest + 1, dtype=levels.dtype, device=levels.device)
    trains = neuron.trains_of_levels(every)  # [firing steps, levels]
    index = (levels - lowest).nan_to_num_(-lowest).int()
    found = histogram(index, len(every))
    spikes, long = trains.abs(), torch.eye(len(trains) + 1, dtype=torch.float64)
    counts = spikes.sum(0)
    one = index[len(index) // 2].flatten()
    return Fired(
        sums=levels if neuron.amplitudes is None else _of(neuron.weighted_sum(trains), index),
        counts=_of(counts, index),
        by_step=spikes.double().cpu() @ found.T,
        lengths=found @ long[counts.long().cpu()],
        shown=trains[:, one[_places(one, shown)].long()].to(torch.int8).cpu(),
    )


def _by_spike(neuron: SpikingNeuron, value: Tensor, shown: int) -> Fired:
    trains = neuron.spikes(value)
    one, sums = trains[:, trains.shape[1] // 2].flatten(1), neuron.weighted_sum(trains)
    one = one[:, _places(one[0], shown)].to(torch.int8).cpu()
    spikes = trains.abs_()
    counts = spikes.sum(0)
    return Fired(
        sums=sums,
        counts=counts,
        # Rows in single precision, which holds their counts, then all in double: summing in double takes 15 times as
        # long on a CPU.
        by_step=spikes.sum(-1).double().flatten(2).sum(2).cpu(),
        lengths=histogram(counts.int(), len(spikes) + 1),
        shown=one,
        added_anew=added_anew(spikes, neuron.spec.time_steps) if neuron.leak is not None else None,
    )


def added_anew(spikes: Tensor, time_steps: int) -> Tensor:
    """Σ_t Σ_{s ≤ t} of spikes [firing steps, B, …] over ticks t: a spike of tick s is added T − s + 1 times."""
    times = torch.arange(time_steps, 0, -1, device=spikes.device).repeat_interleave(len(spikes) // time_steps)
    return torch.einsum("t,t...->...", times.to(spikes), spikes)


def histogram(index: Tensor, size: int) -> Tensor:
    """How many of the whole numbers [B, …] of each row are 0 … ``size`` − 1: [B, size], float64 on the CPU."""
    rows = size * torch.arange(len(index), dtype=torch.int32, device=index.device)
    found = torch.bincount((index.flatten(1) + rows[:, None]).flatten(), minlength=size * len(index))
    return found.view(len(index), size).double().cpu()


def _places(neurons: Tensor, shown: int) -> Tensor:
    return torch.linspace(0, len(neurons) - 1, shown).long().unique().to(neurons.device)


def _of(table: Tensor, index: Tensor) -> Tensor:
    return table.index_select(0, index.flatten()).view_as(index)
