"""Closed-form correction of a linear map, from what it receives toward what it should give."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LinearMap = nn.Conv2d | nn.Linear
CHUNK = 2048
STRENGTHS = (1, 10, 100)


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


@dataclass
class Moments:
    """Sums over rows of inputs x, a 1 appended for the bias, and residuals r: Σ x·xᵀ, Σ r·xᵀ, the number of rows."""

    gram: Tensor
    cross: Tensor
    rows: int

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.gram + other.gram, self.cross + other.cross, self.rows + other.rows)

    def solve(self, strength: float) -> Tensor:
        """Δ [O, F + 1], the bias in the last column: weights by ridge on centred sums, the bias carries the means."""
        mean_input, mean_residual = self.gram[:-1, -1] / self.rows, self.cross[:, -1] / self.rows
        gram = self.gram[:-1, :-1] - self.rows * torch.outer(mean_input, mean_input)
        weight = ridge(gram, self.cross[:, :-1] - self.rows * torch.outer(mean_residual, mean_input), strength)
        return torch.cat([weight, (mean_residual - weight @ mean_input)[:, None]], dim=1)

    def gain(self, delta: Tensor) -> float:
        """Σ‖r‖² − Σ‖r − Δx‖²: how much squared residual Δ takes away on these rows."""
        return (2 * (delta * self.cross).sum() - ((delta @ self.gram) * delta).sum()).item()


def correction(
    layer: LinearMap, received: Tensor, residual: Tensor, strength: float, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Change of weight and bias that takes a layer's output toward its target on the inputs it really receives.

    Of several ridge strengths the one that helps most on held-out samples is taken; none, where none helps.

    Args:
        layer: a convolution with zero padding and one group, or a linear layer.
        received: its input, [N, C, H, W] or [N, L, C].
        residual: target minus output, [N, O, H', W'] or [N, L, O].
        strength: the least ridge strength that is tried, see `ridge`.
        count: positions drawn; memory does not grow with N beyond that.

    Returns:
        ΔW, shaped as the weight, and Δb [O].
    """
    if isinstance(layer, nn.Conv2d):
        pad_down, pad_across = layer.padding
        received = F.pad(received, (pad_across, pad_across, pad_down, pad_down))  # pyright: ignore[reportArgumentType]
    split = max(1, len(received) * 3 // 4)
    fit = _moments(layer, received[:split], residual[:split], count * 3 // 4, generator)
    held_out = _moments(layer, received[split:], residual[split:], count // 4, generator) if len(received) > 1 else fit
    strengths = [strength * factor for factor in STRENGTHS]
    gains = [held_out.gain(fit.solve(each)) for each in strengths]
    best = max(range(len(gains)), key=gains.__getitem__)
    delta = (fit + held_out).solve(strengths[best]) if gains[best] > 0 else torch.zeros_like(fit.cross)
    return delta[:, :-1].reshape(layer.weight.shape).to(layer.weight), delta[:, -1].to(layer.weight)


def _moments(layer: LinearMap, received: Tensor, residual: Tensor, count: int, generator: torch.Generator) -> Moments:
    positions = torch.randint(residual.numel() // len(layer.weight), (count,), generator=generator).to(received.device)
    features = layer.weight[0].numel() + 1
    gram = torch.zeros(features, features, dtype=torch.float64, device=received.device)
    cross = torch.zeros(len(layer.weight), features, dtype=torch.float64, device=received.device)
    for chunk in positions.split(CHUNK):
        inputs, residuals = _rows(layer, received, residual, chunk)
        inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)
        gram += inputs.T @ inputs
        cross += residuals.T @ inputs
    return Moments(gram, cross, count)


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
