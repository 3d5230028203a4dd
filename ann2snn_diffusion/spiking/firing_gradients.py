"""Backpropagation through the T firing steps of a neuron, without keeping a single membrane: backward fires once more.

h_t is the surrogate of ds_t/dv_t: as a spike takes W_t off the membrane, W_t·h_t = derivative(margin / W_t). What a
spike of step t adds to the output is its amplitude A_t, equal to W_t unless step weights were learned.

Charged once (`FireAll`): v_1 = (x − offset) / unit, v_{t+1} = v_t − W_t·s_t, y = offset + unit · Σ_t A_t·s_t:

    p_1 = 1,    p_{t+1} = dv_{t+1}/dv_1 = (1 − W_t·h_t)·p_t,    D = Σ_t A_t·h_t·p_t
    dy/dx = D,    dy/d offset = 1 − D,    dy/d unit = Σ_t A_t·s_t − D·v_1,    dy/dA_t = unit·s_t

With the rectangle as surrogate, A = W and guidance 1, every step but the saturated ones ends the product, and D is 1
between the lowest and the highest level and 0 elsewhere: the clipped straight-through estimator, in closed form. A dead
zone leaves it as it is, so that a silent neuron learns too.

Charged tick by tick (`FireTicks`), rate coding: v_t = λ·u_{t−1} + I_t, u_t = v_t − s_t, and backward in time

    dL/dv_t = h_t · dL/ds_t + (1 − h_t) · λ · dL/dv_{t+1},    dL/dI_t = dL/dv_t,    dL/dλ = Σ_t u_{t−1} · dL/dv_t
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from ann2snn_diffusion.spiking.coding import level_range
from ann2snn_diffusion.spiking.firing import Firing, Tick, charge_of, fired, steps_of_charge, ticks_of
from ann2snn_diffusion.spiking.guidance import UNGUIDED


class FireAll(torch.autograd.Function):
    """All T firing steps of a neuron that is charged once, as one function of value, unit, offset and amplitudes."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, unit: Tensor, offset: Tensor, amplitudes: Tensor | None, firing: Firing
    ) -> Tensor:
        """offset + unit · Σ_t A_t·s_t, shaped as ``value``; amplitudes [T], None: the step weights."""
        ctx.save_for_backward(value, unit, offset, amplitudes)
        ctx.firing = firing
        return torch.addcmul(offset, _level(charge_of(value, unit, offset), amplitudes, firing), unit)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by value, unit, offset and amplitudes, see the module's equations."""
        value, unit, offset, amplitudes = ctx.saved_tensors
        firing: Firing = ctx.firing
        (output,) = gradients
        charge = charge_of(value, unit, offset)
        by_amplitude = None
        if amplitudes is None and not firing.guided and firing.surrogate == "rectangle":
            clipped = charge.clamp(*level_range(firing.weights, firing.signed))
            passed = (clipped == charge).to(charge.dtype)
            level = firing.level(clipped)
        else:
            level, passed, spikes = _simulate(charge, firing, amplitudes)
            if amplitudes is not None:
                by_amplitude = torch.stack([(output * unit * step).sum() for step in spikes])
        by_value = output * passed
        by_unit = (output * torch.addcmul(level, passed, charge, value=-1)).sum_to_size(unit.shape)
        by_offset = output.sum_to_size(offset.shape) - by_value.sum_to_size(offset.shape)
        return by_value, by_unit, by_offset, by_amplitude, None


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


class FireTicks(torch.autograd.Function):
    """T ticks of a rate-coded neuron whose input arrives in T slices, as one function of all that it depends on."""

    @staticmethod
    def forward(
        ctx: Any, slices: Tensor, unit: Tensor, offset: Tensor, leak: Tensor, amplitudes: Tensor | None, firing: Firing
    ) -> Tensor:
        """Slices [T, B, …] of the output: offset + T · unit · Σ A_t·s_t, from slices of the value, unit like a slice.

        Firing steps, and amplitudes [n·T], go in order: the n of the first tick, those of the second …
        """
        ctx.save_for_backward(slices, unit, offset, leak, amplitudes)
        ctx.firing = firing
        ticks = ticks_of(_increments(slices, unit, offset), leak, firing, firing.spikes)
        carried = _amplified([_spikes(tick) for tick in ticks], amplitudes)
        return torch.addcmul(offset, carried, unit, value=len(slices))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by slices, unit, offset, leak and amplitudes, see the module's equations."""
        slices, unit, offset, leak, amplitudes = ctx.saved_tensors
        firing: Firing = ctx.firing
        (output,) = gradients
        time_steps = len(slices)
        increments = _increments(slices, unit, offset)
        ticks = list(ticks_of(increments, leak, firing, firing.spikes))
        by_carried = output * unit
        by_membrane = torch.empty_like(increments)
        by_leak, later = torch.zeros_like(leak), torch.zeros_like(increments[0])
        for tick, (start, steps) in reversed(list(enumerate(ticks))):
            later = leak * later
            for index, step in reversed(list(enumerate(steps, start=tick * len(steps)))):
                slope = firing.slope(step.membrane, 1)
                amplitude = time_steps if amplitudes is None else time_steps * amplitudes[index]
                later = torch.addcmul((1 - slope).mul_(later), slope, by_carried[tick] * amplitude)
            by_membrane[tick] = later
            by_leak += (later * start).sum()
        trains = [_spikes(tick) for tick in ticks]
        by_value = by_membrane / (unit * time_steps)
        carried = _amplified(trains, amplitudes) * time_steps
        by_unit = (output * carried - by_membrane * increments / unit).sum_to_size(unit.shape)
        by_offset = (output - by_value).sum_to_size(offset.shape)
        by_amplitude = None
        if amplitudes is not None:
            by_spike = [(by_carried[tick] * spikes).sum() for tick, steps in enumerate(trains) for spikes in steps]
            by_amplitude = torch.stack(by_spike) * time_steps
        return by_value, by_unit, by_offset, by_leak, by_amplitude, None


def _increments(slices: Tensor, unit: Tensor, offset: Tensor) -> Tensor:
    # A slice carries T times its share of the value.
    return (slices - offset).div_(unit * len(slices))


def _spikes(tick: Tick) -> list[Tensor]:
    return [step.spikes for step in tick.steps]


def _amplified(trains: Sequence[Sequence[Tensor]], amplitudes: Tensor | None) -> Tensor:
    """Σ A_t·s_t of every tick, [T, …], from the spikes of its firing steps."""
    if amplitudes is not None:
        factors = iter(amplitudes)
        trains = [[spikes * next(factors) for spikes in steps] for steps in trains]
    return torch.stack([reduce(torch.add, steps) for steps in trains])
