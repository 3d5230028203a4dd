"""Scale and offset of evenly spaced levels, for the activations that passed a site.

A value x is represented by  offset + scale · clamp(round((x − offset) / scale), lowest, highest).
All functions take values [N, C] and integer levels lowest … highest, and return scale and offset, [C].
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST_SCALE = 1e-8


def quantise(values: Tensor, scale: Tensor, offset: Tensor, lowest: int, highest: int) -> Tensor:
    """The representable values nearest to ``values``."""
    return offset + scale * ((values - offset) / scale).round().clamp(lowest, highest)


def maximum(values: Tensor, lowest: int, highest: int) -> tuple[Tensor, Tensor]:
    """Levels that end at the largest magnitude, offset 0: the plain baseline of ANN-to-SNN conversion."""
    return percentile(values, lowest, highest, 100.0)


def percentile(values: Tensor, lowest: int, highest: int, percent: float = 99.9) -> tuple[Tensor, Tensor]:
    """Levels that end at a percentile of the magnitude, offset 0 (Rueckauer et al. 2017)."""
    magnitude = values.abs() if lowest < 0 else values.clamp(min=0)
    rank = max(1, round(len(values) * percent / 100))
    largest = magnitude.kthvalue(rank, dim=0).values
    return (largest / highest).clamp(min=SMALLEST_SCALE), torch.zeros_like(largest)


def least_squares(
    values: Tensor,
    lowest: int,
    highest: int,
    iterations: int = 5,
    clippings: tuple[float, ...] = (1, 0.5),
) -> tuple[Tensor, Tensor]:
    """Levels of least squared error.

    Lloyd's alternation: given the levels k that the values round to, scale and offset are a linear regression,

        scale = cov(x, k) / var(k),    offset = mean(x) − scale · mean(k),

    and given these the levels follow by rounding. Started from every clipping of the range's ends; the best stays.
    """
    low, high, mean = values.amin(0), values.amax(0), values.mean(0)
    best_scale, best_offset = _spread(low, high, lowest, highest)
    best_error = (quantise(values, best_scale, best_offset, lowest, highest) - values).square().mean(0)
    for lower in clippings:
        for upper in clippings:
            scale, offset = _spread(mean + lower * (low - mean), mean + upper * (high - mean), lowest, highest)
            for _ in range(iterations):
                scale, offset = _regress(values, mean, scale, offset, lowest, highest)
            error = (quantise(values, scale, offset, lowest, highest) - values).square().mean(0)
            better = error < best_error
            best_scale, best_offset = torch.where(better, scale, best_scale), torch.where(better, offset, best_offset)
            best_error = torch.where(better, error, best_error)
    return best_scale, best_offset


def _regress(
    values: Tensor, mean: Tensor, scale: Tensor, offset: Tensor, lowest: int, highest: int
) -> tuple[Tensor, Tensor]:
    level = ((values - offset) / scale).round().clamp(lowest, highest)
    centre = level.mean(0)
    level = level - centre
    variance = level.square().mean(0)
    fitted = (level * values).mean(0) / variance.clamp(min=1e-12)
    scale = torch.where(variance > 1e-12, fitted, scale).clamp(min=SMALLEST_SCALE)
    return scale, mean - scale * centre


def _spread(low: Tensor, high: Tensor, lowest: int, highest: int) -> tuple[Tensor, Tensor]:
    scale = ((high - low) / (highest - lowest)).clamp(min=SMALLEST_SCALE)
    return scale, low - lowest * scale
