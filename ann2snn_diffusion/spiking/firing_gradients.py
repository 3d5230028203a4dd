"""Backpropagation through the T firing steps of a neuron, without keeping a single membrane: backward fires once more.

h_t is the surrogate of ds_t/dv_t: as a spike takes W_t off the membrane, W_t·h_t = derivative(margin / W_t). What a
spike of step t adds to the output is its amplitude A_t, equal to W_t unless step weights were learned.

Charged once (`FireAll`): v_1 = (x − offset) / unit, v_{t+1} = v_t − W_t·s_t, y = offset + unit · Σ_t A_t·s_t:

    p_1 = 1,    p_{t+1} = dv_{t+1}/dv_1 = (1 − W_t·h_t)·p_t,    D = Σ_t A_t·h_t·p_t
    dy/dx = D,    dy/d offset = 1 − D,    dy/d unit = Σ_t A_t·s_t − D·v_1,    dy/dA_t = unit·s_t

With the rectangle as surrogate, A = W and guidance 1, every step but the saturated ones ends the product, and D is 1
between the lowest and the highest level and 0 elsewhere: the clipped straight-through estimator, in closed form. A dead
zone leaves it as it is, so that a silent neuron learns too.

Charged tick by tick, see `tick_gradients`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ann2snn_diffusion.spiking.coding import level_range
from ann2snn_diffusion.spiking.firing import Firing, charge_of, fired, steps_of_charge
from ann2snn_diffusion.spiking.fusing import Fuse
from ann2snn_diffusion.spiking.guidance import UNGUIDED


class FireAll(torch.autograd.Function):
    """All T firing steps of a neuron that is charged once, as one function of value, unit, offset and amplitudes."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, unit: Tensor, offset: Tensor, amplitudes: Tensor | None, firing: Firing, fuse: Fuse
    ) -> Tensor:
        """offset + unit · Σ_t A_t·s_t, shaped as ``value``; amplitudes [T], None: the step weights."""
        ctx.save_for_backward(value, unit, offset, amplitudes)
        ctx.firing, ctx.fuse = firing, fuse
        # The reciprocal is taken here: a kernel would divide once for each place.
        return fuse(fire_all)(value, unit, unit.reciprocal(), offset, amplitudes, firing)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by value, unit, offset and amplitudes, see the module's equations."""
        value, unit, offset, amplitudes = ctx.saved_tensors
        found = ctx.fuse(all_backward)(gradients[0], value, unit, unit.reciprocal(), offset, amplitudes, ctx.firing)
        by_value, by_unit, by_offset, by_amplitudes = found
        return by_value, by_unit.sum_to_size(unit.shape), by_offset.sum_to_size(offset.shape), by_amplitudes, None, None


def fire_all(
    value: Tensor, unit: Tensor, per_unit: Tensor, offset: Tensor, amplitudes: Tensor | None, firing: Firing
) -> Tensor:
    """y, shaped as ``value``; per_unit is 1 / unit."""
    return torch.addcmul(offset, _level(charge_of(value, per_unit, offset), amplitudes, firing), unit)


def all_backward(
    output: Tensor,
    value: Tensor,
    unit: Tensor,
    per_unit: Tensor,
    offset: Tensor,
    amplitudes: Tensor | None,
    firing: Firing,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients by value, unit, offset and amplitudes; those by unit and offset of every row alone."""
    charge, by_amplitudes = charge_of(value, per_unit, offset), None
    if amplitudes is None and not firing.guided and firing.surrogate == "rectangle":
        clipped = charge.clamp(*level_range(firing.weights, firing.signed))
        passed = (clipped == charge).to(charge.dtype)
        level = firing.level(clipped)
    else:
        level, passed, spikes = _simulate(charge, firing, amplitudes)
        if amplitudes is not None:
            by_amplitudes = torch.stack([(output * unit * step).sum() for step in spikes])
    by_value = output * passed
    by_unit = output * torch.addcmul(level, passed, charge, value=-1)
    return by_value, of_rows(by_unit, unit), of_rows(output - by_value, unit), by_amplitudes


def of_rows(places: Tensor, parameter: Tensor) -> Tensor:
    """Of a gradient at every place, the sums that ``parameter`` has in each row, [B, …]."""
    shared = [dim for dim in range(1, parameter.ndim) if parameter.shape[dim] == 1]
    return places.sum(shared, keepdim=True) if shared else places


def _level(charge: Tensor, amplitudes: Tensor | None, firing: Firing) -> Tensor:
    """Σ_t A_t·s_t; ``charge`` is overwritten."""
    if amplitudes is not None:
        steps = enumerate(steps_of_charge(charge, firing, firing.spikes))
        return torch.stack([amplitudes[index] * step.spikes for index, step in steps]).sum(0)
    if not firing.guided:
        return firing.level(charge)
    level = fired(charge, firing)
    if isinstance(firing.guidance, Tensor) and firing.by_step == UNGUIDED:
        # A row with g = 1 beside guided ones is unguided to the last bit: midway between two levels the loop fires, and
        # rounding goes to the even one.
        level = torch.where(firing.guidance == 1, firing.level(charge), level)
    return level


def _simulate(charge: Tensor, firing: Firing, amplitudes: Tensor | None) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Σ_t A_t·s_t, D, and the spikes of each step."""
    level, passed, kept = torch.zeros_like(charge), torch.zeros_like(charge), torch.ones_like(charge)
    trains = []
    for index, step in enumerate(steps_of_charge(charge, firing, firing.spikes)):
        weight = firing.weights[index]
        amplitude = weight if amplitudes is None else amplitudes[index]
        slope = firing.slope(step.membrane, weight)
        level += amplitude * step.spikes
        passed += amplitude / weight * slope * kept
        kept *= 1 - slope
        trains.append(step.spikes)
    return level, passed, trains
