"""Closed-form correction of a linear map, from what it receives toward what it should give."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LinearMap = nn.Conv2d | nn.Linear
CHUNK = 2048


def ridge(gram: Tensor, cross: Tensor, strength: float) -> Tensor:
    """Δ [O, F] that minimises Σ ‖r − Δx‖² + λ‖Δ‖² over all rows.

        Δ = (Σ r·xᵀ) (Σ x·xᵀ + λI)⁻¹,    λ = strength · mean diagonal of Σ x·xᵀ

    Args:
        gram: Σ x·xᵀ, [F, F].
        cross: Σ r·xᵀ, [O, F]; r is the residual: what the map should give minus what it gives.
        strength: relative to the mean diagonal, above 0.
    """
    penalty = strength * gram.diagonal().mean().clamp(min=1e-12)
    regularised = gram + penalty * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.cholesky_solve(cross.T, torch.linalg.cholesky(regularised)).T


def correction(
    layer: LinearMap, received: Tensor, residual: Tensor, strength: float, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Change of weight and bias that takes a layer's output toward its target on the inputs it really receives.

    Args:
        layer: a convolution with zero padding and one group, or a linear layer.
        received: its input, [N, C, H, W] or [N, L, C].
        residual: target minus output, [N, O, H', W'] or [N, L, O].
        strength: see `ridge`.
        count: positions drawn; memory does not grow with N beyond that.

    Returns:
        ΔW, shaped as the weight, and Δb [O].
    """
    outputs = residual.numel() // len(layer.weight)
    positions = torch.randint(outputs, (count,), generator=generator).to(received.device)
    features = layer.weight[0].numel()
    moments = torch.zeros(features + 1, features + 1, dtype=torch.float64, device=received.device)
    cross = torch.zeros(len(layer.weight), features + 1, dtype=torch.float64, device=received.device)
    if isinstance(layer, nn.Conv2d):
        pad_down, pad_across = layer.padding
        received = F.pad(received, (pad_across, pad_across, pad_down, pad_down))  # pyright: ignore[reportArgumentType]
    for chunk in positions.split(CHUNK):
        inputs, residuals = _rows(layer, received, residual, chunk)
        inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)
        moments += inputs.T @ inputs
        cross += residuals.T @ inputs
    # The bias is not penalised: centre both sides, solve for the weight, let the bias carry the means.
    mean_input, mean_residual = moments[:-1, -1] / count, cross[:, -1] / count
    gram = moments[:-1, :-1] - count * torch.outer(mean_input, mean_input)
    weight = ridge(gram, cross[:, :-1] - count * torch.outer(mean_residual, mean_input), strength)
    bias = mean_residual - weight @ mean_input
    return weight.view_as(layer.weight).to(layer.weight), bias.to(layer.weight)


def apply_delta(layer: LinearMap, received: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Output of ``layer`` had it only the weight and bias given."""
    if isinstance(layer, nn.Linear):
        return F.linear(received, weight, bias)
    return F.conv2d(received, weight, bias, layer.stride, layer.padding, layer.dilation)


def _rows(layer: LinearMap, received: Tensor, residual: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs [R, F] and residuals [R, O] at flat output positions."""
    if isinstance(layer, nn.Linear):
        return received.flatten(0, -2)[positions], residual.flatten(0, -2)[positions]
    height, width = residual.shape[-2:]
    row = positions // (height * width)
    down, across = positions // width % height, positions % width
    return patches(layer, received, row, down, across), residual[row, :, down, across]


def patches(conv: nn.Conv2d, padded: Tensor, row: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """What an output position (row, down, across), each [R], sees of the padded input: [R, C · kh · kw]."""
    downs = down[:, None] * conv.stride[0] + torch.arange(conv.kernel_size[0], device=down.device) * conv.dilation[0]
    acrosses = (
        across[:, None] * conv.stride[1] + torch.arange(conv.kernel_size[1], device=down.device) * conv.dilation[1]
    )
    seen = padded[row[:, None, None], :, downs[:, :, None], acrosses[:, None, :]]
    return seen.permute(0, 3, 1, 2).flatten(1)
