"""Backpropagation through the T firing steps of a neuron, without keeping a single membrane: backward fires once more.

h_t is the surrogate of ds_t/dv_t: as a spike takes W_t off the membrane, W_t·h_t = derivative(margin / W_t). What a
spike of step t adds to the output is its amplitude A_t, equal to W_t unless step weights were learned.

Charged once (`FireAll`): v_1 = (x − offset) / unit, v_{t+1} = v_t − W_t·s_t, y = offset + unit · Σ_t A_t·s_t:

    p_1 = 1,    p_{t+1} = dv_{t+1}/dv_1 = (1 − W_t·h_t)·p_t,    D = Σ_t A_t·h_t·p_t
    dy/dx = D,    dy/d offset = 1 − D,    dy/d unit = Σ_t A_t·s_t − D·v_1,    dy/dA_t = unit·s_t

With the rectangle as surrogate, A = W and guidance 1, every step but the saturated ones ends the product, and D is 1
between the lowest and the highest level and 0 elsewhere: the clipped straight-through estimator, in closed form.

Charged tick by tick (`FireTicks`), rate coding: v_t = λ·u_{t−1} + I_t, u_t = v_t − s_t, and backward in time

    dL/dv_t = h_t · dL/ds_t + (1 − h_t) · λ · dL/dv_{t+1},    dL/dI_t = dL/dv_t,    dL/dλ = Σ_t u_{t−1} · dL/dv_t

Where two neurons take turns on a membrane, a tick has n = 2 firing steps; between them nothing arrives or leaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from ann2snn_diffusion.spiking.coding import level_range
from ann2snn_diffusion.spiking.surrogate import Surrogate, derivative


@dataclass(frozen=True)
class Firing:
    """How a neuron fires; see `neuron`."""

    weights: tuple[int, ...]
    guidance: float | Tensor
    """g, or that of each row, [B, 1, …]."""
    signed: bool
    surrogate: Surrogate

    @property
    def guided(self) -> bool:
        """Whether any condition differs from the plain one."""
        return isinstance(self.guidance, Tensor) or self.guidance != 1

    def spikes(self, membrane: Tensor, weight: int) -> Tensor:
        """Spikes of one time step, {0, 1} or {−1, 0, 1}."""
        # Into a tensor of the membrane's type: to compare, then to cast, takes ten times as long on a CPU.
        condition = self._condition(weight)
        spikes = torch.ge(membrane, condition, out=torch.empty_like(membrane))
        return spikes.sub_(torch.le(membrane, -condition, out=torch.empty_like(membrane))) if self.signed else spikes

    def slope(self, membrane: Tensor, weight: int) -> Tensor:
        """W_t·h_t."""
        condition = self._condition(weight)
        slope = derivative((membrane - condition) / weight, self.surrogate)
        return slope.add_(derivative((membrane + condition) / weight, self.surrogate)) if self.signed else slope

    def _condition(self, weight: int) -> float | Tensor:
        return self.guidance * weight * (0.5 if self.signed else 1)


def charge_of(value: Tensor, unit: Tensor, offset: Tensor) -> Tensor:
    """(value − offset) / unit, the same to the last bit wherever a neuron is charged once."""
    return (value - offset).mul_(unit.reciprocal())


def round_to_level(value: Tensor, unit: Tensor, offset: Tensor, lowest: int, highest: int) -> Tensor:
    """Closed form of a neuron with g = 1: offset + unit · clamp(round((value − offset) / unit), lowest, highest)."""
    level = charge_of(value, unit, offset).round_().clamp_(lowest, highest)
    return torch.addcmul(offset, level, unit)


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
            level, passed = clipped.round(), (clipped == charge).to(charge.dtype)
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
        steps = enumerate(_steps(charge, firing))
        return torch.stack([amplitudes[step] * spikes for step, (_, spikes) in steps]).sum(0)
    if not firing.guided:
        return charge.round_().clamp_(*level_range(firing.weights, firing.signed))
    plain = charge.round().clamp_(*level_range(firing.weights, firing.signed))
    # A row with g = 1 beside guided ones is unguided to the last bit: midway between two levels the loop fires, and
    # rounding goes to the even one.
    unguided = torch.as_tensor(firing.guidance, device=charge.device) == 1
    return torch.where(unguided, plain, _fired(charge, firing))


def _fired(charge: Tensor, firing: Firing) -> Tensor:
    """Σ_t W_t·s_t: what firing took off the membrane; ``charge`` is overwritten."""
    start = charge.clone()
    membrane = charge if firing.signed else charge.add_(0.5)
    for weight in firing.weights:
        membrane.sub_(firing.spikes(membrane, weight), alpha=weight)
    level = start.sub_(membrane)
    return (level if firing.signed else level.add_(0.5)).round_()


def _simulate(charge: Tensor, firing: Firing, amplitudes: Tensor | None) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Σ_t A_t·s_t, D, and the spikes of each step."""
    level, passed, kept = torch.zeros_like(charge), torch.zeros_like(charge), torch.ones_like(charge)
    trains = []
    for step, (membrane, spikes) in enumerate(_steps(charge, firing)):
        weight = firing.weights[step]
        amplitude = weight if amplitudes is None else amplitudes[step]
        slope = firing.slope(membrane, weight)
        level += amplitude * spikes
        passed += amplitude / weight * slope * kept
        kept *= 1 - slope
        trains.append(spikes)
    return level, passed, trains


def _steps(charge: Tensor, firing: Firing) -> Iterator[tuple[Tensor, Tensor]]:
    """Membrane before firing, and spikes, of each time step of a neuron that is charged once."""
    membrane = charge if firing.signed else charge + 0.5
    for weight in firing.weights:
        spikes = firing.spikes(membrane, weight)
        yield membrane, spikes
        membrane = torch.sub(membrane, spikes, alpha=weight)


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
        ticks = _ticks(_increments(slices, unit, offset), leak, firing)
        carried = _amplified([[spikes for _, spikes in steps] for _, steps in ticks], amplitudes)
        return torch.addcmul(offset, carried, unit, value=len(slices))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by slices, unit, offset, leak and amplitudes, see the module's equations."""
        slices, unit, offset, leak, amplitudes = ctx.saved_tensors
        (output,) = gradients
        time_steps = len(slices)
        increments = _increments(slices, unit, offset)
        ticks = list(_ticks(increments, leak, ctx.firing))
        by_carried = output * unit
        by_membrane = torch.empty_like(increments)
        by_leak, later = torch.zeros_like(leak), torch.zeros_like(increments[0])
        for tick, (residue, steps) in reversed(list(enumerate(ticks))):
            later = leak * later
            for step, (membrane, _) in reversed(list(enumerate(steps, start=tick * len(steps)))):
                slope = ctx.firing.slope(membrane, 1)
                amplitude = time_steps if amplitudes is None else time_steps * amplitudes[step]
                later = torch.addcmul((1 - slope).mul_(later), slope, by_carried[tick] * amplitude)
            by_membrane[tick] = later
            by_leak += (later * residue).sum()
        trains = [[spikes for _, spikes in steps] for _, steps in ticks]
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


def _amplified(trains: Sequence[Sequence[Tensor]], amplitudes: Tensor | None) -> Tensor:
    """Σ A_t·s_t of every tick, [T, …], from the spikes of its firing steps."""
    if amplitudes is not None:
        factors = iter(amplitudes)
        trains = [[spikes * next(factors) for spikes in steps] for steps in trains]
    return torch.stack([reduce(torch.add, steps) for steps in trains])


def _ticks(increments: Tensor, leak: Tensor, firing: Firing) -> Iterator[tuple[Tensor, list[tuple[Tensor, Tensor]]]]:
    """Of every tick the residue u_{t−1} that it starts from; the membrane v_t and the spikes s_t of its n steps."""
    residue = torch.full_like(increments[0], 0 if firing.signed else 0.5)
    for increment in increments:
        start, steps = residue, []
        residue = torch.addcmul(increment, residue, leak)
        for _ in range(len(firing.weights) // len(increments)):
            membrane = residue
            spikes = firing.spikes(membrane, 1)
            steps.append((membrane, spikes))
            residue = membrane - spikes
        yield start, steps
