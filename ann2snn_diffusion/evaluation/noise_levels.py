"""Errors by noise level, and their average over all diffusion timesteps.

Errors to the ANN are by far largest near clean images, in a few diffusion timesteps out of 1000: drawn uniformly, they
would be hit or missed by chance. So states are drawn in strata, equally many in each level, and averaged by its width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ann2snn_diffusion.evaluation.site_statistics import Comparison

LEVEL_STARTS = (0, 10, 25, 50, 100, 150, 200, 300, 400, 500, 600, 700, 800, 900)
LOW_NOISE = 50


@dataclass(frozen=True)
class NoiseLevel:
    """A range of diffusion timesteps, ``stop`` exclusive."""

    start: int
    stop: int
    epsilon_error: float
    """Σ(ε_SNN − ε_ANN)² / Σε_ANN² over states in it."""
    power: float
    """Mean Σε_ANN² of a state in it."""


def noise_levels(comparison: Comparison, diffusion_timesteps: Tensor, last: int) -> tuple[NoiseLevel, ...]:
    """What was compared at diffusion timesteps [N], all below ``last``, by noise level; every level needs a state."""
    starts = [start for start in LEVEL_STARTS if start < last]
    index = torch.bucketize(diffusion_timesteps.cpu(), torch.tensor(starts[1:]), right=True)
    levels = []
    for level, (start, stop) in enumerate(zip(starts, [*starts[1:], last], strict=True)):
        error, power = comparison.errors[index == level].mean(), comparison.powers[index == level].mean()
        levels.append(NoiseLevel(start, stop, (error / power.clamp(min=1e-12)).item(), power.item()))
    return tuple(levels)


def relative_error(levels: Sequence[NoiseLevel]) -> float:
    """Σ(ε_SNN − ε_ANN)² / Σε_ANN² over the diffusion timesteps of all levels, each counting the same."""
    weights = [(level.stop - level.start) * level.power for level in levels]
    errors = [weight * level.epsilon_error for weight, level in zip(weights, levels, strict=True)]
    return sum(errors) / max(sum(weights), 1e-12)


def low_noise(levels: Sequence[NoiseLevel]) -> list[NoiseLevel]:
    """The levels below diffusion timestep 50."""
    return [level for level in levels if level.stop <= LOW_NOISE]
