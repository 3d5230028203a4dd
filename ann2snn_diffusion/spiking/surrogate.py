"""The spike function: a step forward, a smooth surrogate gradient backward (Neftci et al. 2019, arXiv 1901.09948)."""

from __future__ import annotations

import math
from typing import Any, get_args

import torch
from torch import Tensor

from ann2snn_diffusion.spiking.spec import Surrogate

SURROGATES: tuple[Surrogate, ...] = get_args(Surrogate)


def derivative(margin: Tensor, surrogate: Surrogate) -> Tensor:
    """Surrogate of dΘ(x)/dx at the margin x over the firing condition, in units of the spike's own weight; integral 1.

    - rectangle: 1 where |x| < ½ (STBP, arXiv 1706.02609)
    - triangle:  max(0, 1 − |x|)
    - arctan:    1 / (1 + (πx)²)
    - sigmoid:   4·σ(4x)·(1 − σ(4x))
    """
    if surrogate == "rectangle":
        return (margin.abs() < 0.5).to(margin.dtype)
    if surrogate == "triangle":
        return (1 - margin.abs()).clamp(min=0)
    if surrogate == "arctan":
        return 1 / (1 + (math.pi * margin).square())
    rising = torch.sigmoid(4 * margin)
    return 4 * rising * (1 - rising)


class Spike(torch.autograd.Function):
    """Θ(margin): 1 where margin ≥ 0, else 0; differentiated by a surrogate."""

    @staticmethod
    def forward(ctx: Any, margin: Tensor, surrogate: Surrogate) -> Tensor:
        """Spikes of the same shape as ``margin``."""
        ctx.save_for_backward(margin)
        ctx.surrogate = surrogate
        return (margin >= 0).to(margin.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The incoming gradient times the surrogate derivative."""
        (margin,) = ctx.saved_tensors
        return gradients[0] * derivative(margin, ctx.surrogate), None


def spike(margin: Tensor, surrogate: Surrogate) -> Tensor:
    """Spikes {0, 1} of the same shape as ``margin``, with a surrogate gradient."""
    return Spike.apply(margin, surrogate)  # pyright: ignore[reportReturnType]
