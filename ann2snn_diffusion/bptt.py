"""Backpropagation through the T firing steps of a neuron that is charged once, without keeping a single membrane.

With charge v_1 = (x − offset) / unit, spikes s_t and membranes v_{t+1} = v_t − W_t·s_t (see `neuron`), let h_t be the
surrogate of ds_t/dv_t. The membranes' derivatives by the charge, p_t = dv_t/dv_1, and that of the emitted level follow:

    p_1 = 1,    p_{t+1} = (1 − W_t·h_t)·p_t,    d(Σ_t W_t·s_t)/dv_1 = Σ_t W_t·h_t·p_t = 1 − p_{T+1} =: D

So of all T steps one number D a neuron is needed, and the output y = offset + unit · Σ_t W_t·s_t has the gradients

    dy/dx = D,    dy/d offset = 1 − D,    dy/d unit = Σ_t W_t·s_t − D·v_1
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ann2snn_diffusion.surrogate import Surrogate, derivative


class FireAll(torch.autograd.Function):
    """All T firing steps of a neuron as one differentiable function of value, unit and offset.

    Its backward simulates the steps once more: memory does not grow with T.
    """

    @staticmethod
    def forward(
        ctx: Any,
        value: Tensor,
        unit: Tensor,
        offset: Tensor,
        weights: tuple[int, ...],
        guidance: float,
        signed: bool,
        surrogate: Surrogate,
    ) -> Tensor:
        """offset + unit · Σ_t W_t·s_t, shaped as ``value``."""
        ctx.save_for_backward(value, unit, offset)
        ctx.firing = weights, guidance, signed, surrogate
        level, _ = _simulate((value - offset) / unit, weights, guidance, signed, None)
        return torch.addcmul(offset, level, unit)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by value, unit and offset, see the module's equations."""
        value, unit, offset = ctx.saved_tensors
        weights, guidance, signed, surrogate = ctx.firing
        charge = (value - offset) / unit
        level, passed = _simulate(charge, weights, guidance, signed, surrogate)
        (output,) = gradients
        by_value = output * passed
        by_unit = (output * level - by_value * charge).sum_to_size(unit.shape)
        by_offset = (output - by_value).sum_to_size(offset.shape)
        return by_value, by_unit, by_offset, None, None, None, None


def _simulate(
    charge: Tensor, weights: tuple[int, ...], guidance: float, signed: bool, surrogate: Surrogate | None
) -> tuple[Tensor, Tensor]:
    """Σ_t W_t·s_t, and D where a surrogate is given."""
    membrane = charge if signed else charge + 0.5
    start, kept = membrane, torch.ones_like(charge)
    for weight in weights:
        bar = guidance * weight * (0.5 if signed else 1)
        spikes = (membrane >= bar).to(charge.dtype)
        if signed:
            spikes -= (-membrane >= bar).to(charge.dtype)
        if surrogate is not None:
            slope = derivative(membrane - bar, surrogate)
            if signed:
                slope += derivative(-membrane - bar, surrogate)
            kept *= 1 - weight * slope
        membrane = torch.sub(membrane, spikes, alpha=weight)
    return start - membrane, 1 - kept
