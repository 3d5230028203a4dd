"""What the spikes of a population cost, with a gradient: that of the count of spikes, smoothed over a unit of charge.

Let N(v) = Σ_t |s_t| be the spikes that a neuron fires for a charge v = (x − offset) / unit: a staircase. Averaged over
a unit around the charge it has a slope, which is what a charge's spread around it would show:

    N̄(v) = ∫ N(v + u) du,  u from −½ to ½,        D = dN̄/dv = N(v + ½) − N(v − ½)

    dN̄/dx = D / unit,    dN̄/d offset = −D / unit,    dN̄/d unit = −D · v / unit

N is constant in every quarter of a unit (`conditions`), and so is D: a table of the quarters has both. With a dead zone
a train of one spike is fired from ¾ on, so what is near enough to become silent, or to fire, lies between ¼ and 1¼.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from calibration.levels import QUARTERS, quarters


@dataclass(frozen=True)
class SpikeTable:
    """Of every quarter of a unit, from ``lowest`` on: N and D; the charges beyond have those of its ends.

    Attributes:
        lowest: a unit below the lowest level.
        spikes, slope: [quarters].
    """

    lowest: int
    spikes: Tensor
    slope: Tensor


def spike_table(neuron: SpikingNeuron) -> SpikeTable:
    """The table of an unguided neuron that is charged once."""
    lowest, highest = neuron.level_range
    device = neuron.threshold.device
    spikes = neuron.spikes_of_charge(quarters(lowest - 1, highest + 1).to(device))
    half = QUARTERS // 2
    around = F.pad(spikes[None], (half, half), mode="replicate")[0]
    return SpikeTable(lowest - 1, spikes, around[2 * half :] - around[: -2 * half])


class CostOfSpikes(torch.autograd.Function):
    """Σ price · N of a whole population, as one function of value, unit and offset."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, unit: Tensor, offset: Tensor, price: Tensor, table: SpikeTable) -> Tensor:
        """Of each image, [B], for the value [B, …] that charges it; price [1, …] broadcasts against that."""
        ctx.save_for_backward(value, unit, offset, price)
        ctx.table = table
        spikes = _look_up(table.spikes, _quarter(value, unit, offset, table))
        return (spikes * price).flatten(1).sum(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by value, unit and offset, see the module's equations."""
        value, unit, offset, price = ctx.saved_tensors
        slope = _look_up(ctx.table.slope, _quarter(value, unit, offset, ctx.table))
        of_image = gradients[0].view(-1, *[1] * (value.ndim - 1))
        by_value = slope.mul_(of_image * price / unit)
        by_offset = -by_value.sum_to_size(offset.shape)
        by_unit = -((by_value * value).sum_to_size(unit.shape) + offset * by_offset) / unit
        return by_value, by_unit, by_offset, None, None


def cost_of_spikes(neuron: SpikingNeuron, value: Tensor, price: Tensor, table: SpikeTable, rows: slice) -> Tensor:
    """Σ price · N of each image, [rows], of what ``neuron``, charged once, fires for ``value`` [B, …], with gradients.

    Args:
        price: of a spike at each place, [1, …], to broadcast against ``value``.
        rows: images that are counted.
    """
    unit, offset = (part[rows] if len(part) > 1 else part for part in neuron.levels(value.float()))
    return CostOfSpikes.apply(value[rows].float(), unit, offset, price, table)  # pyright: ignore[reportReturnType]


def _quarter(value: Tensor, unit: Tensor, offset: Tensor, table: SpikeTable) -> Tensor:
    """Index of the quarter in which each charge lies; that of no number is the first."""
    scale = QUARTERS / unit
    # Whole numbers toward zero: below the table all is clamped to its first quarter in any case.
    return torch.addcmul(-offset * scale - QUARTERS * table.lowest, value, scale).int().clamp_(0, len(table.spikes) - 1)


def _look_up(table: Tensor, quarter: Tensor) -> Tensor:
    return table.index_select(0, quarter.flatten()).view_as(quarter)
