"""Backpropagation through the ticks of a rate-coded neuron, without keeping a membrane: backward fires once more.

Charged by running means m_t (see `ticks`), with x_t what arrives, h_t the surrogate of ds_t/dv_t, and A_t what a spike
hands on:

    c_t = (m_t − offset) / unit,    I_t = arrivals(c)_t / T,    v_t = λ·u_{t−1} + I_t,    u_t = v_t − s_t
    n_t = T·A_t·s_t,    y_t = offset + unit · running_means(n)_t

Backward in time:

    dL/dn_t = unit · Σ_{s≥t} dL/dy_s / s
    dL/dv_t = h_t · T·A_t · dL/dn_t + (1 − h_t) · λ · dL/dv_{t+1},    dL/dI_t = dL/dv_t
    dL/dλ = Σ_t u_{t−1} · dL/dv_t,    dL/dA_t = Σ T·s_t · dL/dn_t
    dL/dm_t = dL/dc_t / unit,    dL/d unit = Σ_t (y_t − offset) / unit · dL/dy_t − c_t · dL/dm_t
    dL/d offset = Σ_t dL/dy_t − dL/dm_t

Everything but the sums is done place by place: two kernels, where `fuse` compiles them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from ann2snn_diffusion.spiking.firing import Firing, Tick, charge_of, ticks_of
from ann2snn_diffusion.spiking.firing_gradients import of_rows
from ann2snn_diffusion.spiking.fusing import Fuse
from ann2snn_diffusion.spiking.ticks import by_means, by_slices, increments, running_means


class FireTicks(torch.autograd.Function):
    """T ticks of a rate-coded neuron, as one function of all that it depends on."""

    @staticmethod
    def forward(
        ctx: Any, means: Tensor, unit: Tensor, offset: Tensor, leak: Tensor, amplitudes: Tensor | None,
        firing: Firing, fuse: Fuse,
    ) -> Tensor:  # fmt: skip
        """Running means [T, B, …] of the output, of those of the value; unit and offset broadcast against one tick.

        Firing steps, and amplitudes [n·T], go in order: the n of the first tick, those of the second …
        """
        ctx.save_for_backward(means, unit, offset, leak, amplitudes)
        ctx.firing, ctx.fuse = firing, fuse
        return fuse(fire_ticks)(means, unit, offset, leak, amplitudes, firing)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by running means, unit, offset, leak and amplitudes, see the module's equations."""
        means, unit, offset, leak, amplitudes = ctx.saved_tensors
        found = ctx.fuse(ticks_backward)(gradients[0], means, unit, offset, leak, amplitudes, ctx.firing)
        by_mean, by_unit, by_offset, by_leak, by_amplitude = found
        return (
            by_mean, by_unit.sum_to_size(unit.shape), by_offset.sum_to_size(offset.shape), by_leak.sum(),
            by_amplitude, None, None,
        )  # fmt: skip


def fire_ticks(
    means: Tensor, unit: Tensor, offset: Tensor, leak: Tensor, amplitudes: Tensor | None, firing: Firing
) -> Tensor:
    """y_1 … y_T, [T, B, …]."""
    ticks = ticks_of(increments(_charges(means, unit, offset)), leak, firing, firing.spikes)
    means_handed_on = running_means(_handed_on(ticks, amplitudes))
    return torch.stack([torch.addcmul(offset, levels, unit) for levels in means_handed_on])


def ticks_backward(
    output: Tensor, means: Tensor, unit: Tensor, offset: Tensor, leak: Tensor, amplitudes: Tensor | None, firing: Firing
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients by means, unit, offset, leak and amplitudes; those by unit, offset and leak of every row alone."""
    time_steps, charges = len(means), _charges(means, unit, offset)
    ticks = list(ticks_of(increments(charges), leak, firing, firing.spikes))
    by_spikes = [gradient * (unit * time_steps) for gradient in by_slices(output)]
    by_increments: list[Tensor] = []
    later = by_leak = torch.zeros_like(charges[0])
    for tick in reversed(range(time_steps)):
        later, steps = leak * later, ticks[tick].steps
        for index, step in reversed(list(enumerate(steps, start=tick * len(steps)))):
            slope = firing.slope(step.membrane, 1)
            amplified = by_spikes[tick] if amplitudes is None else amplitudes[index] * by_spikes[tick]
            later = torch.addcmul((1 - slope) * later, slope, amplified)
        by_increments.append(later)
        by_leak = torch.addcmul(by_leak, later, ticks[tick].start)
    by_mean = [gradient / (unit * time_steps) for gradient in by_means(by_increments[::-1])]
    handed_on = running_means(_handed_on(ticks, amplitudes))
    by_unit = reduce(torch.add, (output[t] * handed_on[t] - by_mean[t] * charges[t] for t in range(time_steps)))
    by_offset = reduce(torch.add, (output[t] - by_mean[t] for t in range(time_steps)))
    by_amplitudes = None
    if amplitudes is not None:
        spikes = [step.spikes for tick in ticks for step in tick.steps]
        per_tick = len(spikes) // time_steps
        by_amplitudes = torch.stack([(by_spikes[index // per_tick] * one).sum() for index, one in enumerate(spikes)])
    rows = of_rows(by_unit, unit), of_rows(by_offset, offset), of_rows(by_leak, unit)
    return torch.stack(by_mean), *rows, by_amplitudes


def _charges(means: Tensor, unit: Tensor, offset: Tensor) -> list[Tensor]:
    return [charge_of(mean, unit.reciprocal(), offset) for mean in means]


def _handed_on(ticks: Iterable[Tick], amplitudes: Tensor | None) -> list[Tensor]:
    """n_1 … n_T."""
    trains = [[step.spikes for step in tick.steps] for tick in ticks]
    if amplitudes is not None:
        factors = iter(amplitudes)
        trains = [[spikes * next(factors) for spikes in steps] for steps in trains]
    return [len(trains) * reduce(torch.add, steps) for steps in trains]
