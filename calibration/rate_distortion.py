"""Scale and offset of evenly spaced levels that are worth their cost: every level has one.

A value x is represented by  offset + scale · n,  n being the level of (x − offset) / scale, which costs c_n (`levels`).
Over the values of a channel, rate–distortion optimisation (Shannon 1959; for image coders Sullivan and Wiegand 1998)
looks for scale and offset of least

    J = importance · mean (x − x̂)² + price · mean c_n

Where price is 0 this is least squares; as it rises, scales grow and the cheapest level moves to where most values are,
until nothing but that is left. All functions take a `Sample` of K segments and C channels, each solved apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from calibration.levels import Levels

SMALLEST_SCALE = 1e-8
STEPS = (-0.5, 0.0, 0.5)
"""Octaves around the scale at which a search begins."""
SKIPPED = 4
"""Of so many rows one is looked at until scale and offset are nearly found."""
REFITS = 2
"""Regressions of scale and offset on the levels, at the end."""
MARGIN = 1.25
"""How far levels reach beyond all values that were seen, at the least: others come, and are clipped."""


@dataclass(frozen=True)
class Sample:
    """Some of the values that arrived, and the range of all: rare ones count little, but beyond the last level much.

    Attributes:
        rows: [K, N, C].
        low, high: least and greatest of all values, [K, C].
    """

    rows: Tensor
    low: Tensor
    high: Tensor


def represent(values: Tensor, scale: Tensor, offset: Tensor, levels: Levels) -> tuple[Tensor, Tensor]:
    """Mean squared error and mean cost, [K, C]."""
    level = levels_at(values, scale, offset, levels)
    cost = levels.cost_of(level).mean(1)
    error = torch.addcmul(offset.unsqueeze(1) - values, level, scale.unsqueeze(1)).square().mean(1)
    return error, cost


def levels_at(values: Tensor, scale: Tensor, offset: Tensor, levels: Levels) -> Tensor:
    """The level of each value [K, N, C] at scale and offset [K, C]."""
    return levels.of((values - offset.unsqueeze(1)).mul_(scale.unsqueeze(1).reciprocal()))


def least_cost(sample: Sample, importance: Tensor, price: float, levels: Levels) -> tuple[Tensor, Tensor]:
    """Scale and offset, [K, C], of least J.

    Near the optimum ``price / (importance · scale²)`` is about ½ at every rate, so the search begins at
    scale = √(2 · price / importance), no finer than the values' range asks for.
    """
    law = (2 * price / importance.clamp(min=1e-30)).sqrt()
    few = Sample(sample.rows[:, ::SKIPPED], sample.low, sample.high)
    best = Best.silent(few, importance, price, levels)
    for centre in _centres(few):
        for step in STEPS:
            best.consider(*_around(centre, law * 2**step, sample, levels))
    scale, offset = best.scale, best.offset
    best = Best.silent(sample, importance, price, levels)
    best.consider(scale, offset)
    for _ in range(REFITS):
        scale, offset = _regress(sample.rows, best.scale, best.offset, levels)
        best.consider(*_around(offset + levels.silent * scale, scale, sample, levels))
    return best.scale, best.offset


@dataclass
class Best:
    """The best scale and offset so far of each channel, [K, C], and what they are judged by."""

    values: Tensor
    importance: Tensor
    price: float
    levels: Levels
    scale: Tensor
    offset: Tensor
    total: Tensor

    @classmethod
    def silent(cls, sample: Sample, importance: Tensor, price: float, levels: Levels) -> Best:
        """Begins with levels so far apart that every value has the cheapest, at the mean."""
        mean = sample.rows.mean(1)
        scale = 4 * _extent(sample, mean)
        error, cost = _silence(sample.rows, levels)
        total = importance * error + price * cost
        return cls(sample.rows, importance, price, levels, scale, mean - levels.silent * scale, total)

    def consider(self, scale: Tensor, offset: Tensor) -> None:
        """Take over scale and offset of the channels where they are better."""
        error, cost = represent(self.values, scale, offset, self.levels)
        total = self.importance * error + self.price * cost
        better = total < self.total
        self.scale, self.offset = torch.where(better, scale, self.scale), torch.where(better, offset, self.offset)
        self.total = torch.where(better, total, self.total)


def _around(centre: Tensor, scale: Tensor, sample: Sample, levels: Levels) -> tuple[Tensor, Tensor]:
    """Scale and offset with the silent level at ``centre``; the scale no finer than the range asks for."""
    scale = torch.maximum(scale, MARGIN * _extent(sample, centre) / levels.reach)
    return scale, centre - levels.silent * scale


def _silence(values: Tensor, levels: Levels) -> tuple[Tensor, Tensor]:
    variance = values.var(1, unbiased=False)
    return variance, torch.full_like(variance, levels.cost.min().item())


def _centres(sample: Sample) -> Iterator[Tensor]:
    """Where the silent value may lie: amid the densest quarter of the values, at the mean, in mid-range; [K, C]."""
    ordered = sample.rows.sort(1).values
    quarter = max(1, ordered.shape[1] // 4)
    at = (ordered[:, quarter:] - ordered[:, :-quarter]).argmin(1, keepdim=True)
    yield (ordered.gather(1, at) + ordered.gather(1, at + quarter)).squeeze(1) / 2
    yield sample.rows.mean(1)
    yield (sample.low + sample.high) / 2


def _extent(sample: Sample, centre: Tensor) -> Tensor:
    """Largest distance of a value from the centre, [K, C]."""
    return torch.maximum(sample.high - centre, centre - sample.low).clamp(min=SMALLEST_SCALE)


def _regress(values: Tensor, scale: Tensor, offset: Tensor, levels: Levels) -> tuple[Tensor, Tensor]:
    """Scale and offset of least squared error, given the levels (Lloyd)."""
    level = levels_at(values, scale, offset, levels)
    centre, mean = level.mean(1), values.mean(1)
    level = level - centre.unsqueeze(1)
    variance = level.square().mean(1)
    fitted = (level * values).mean(1) / variance.clamp(min=1e-9)
    scale = torch.where(variance > 1e-6, fitted, scale).clamp(min=SMALLEST_SCALE)
    return scale, mean - scale * centre
