"""Errors by noise stratum, and their average over all diffusion timesteps.

Errors to the ANN are by far largest near clean images, in a few diffusion timesteps out of 1000: drawn uniformly, they
would be hit or missed by chance. So states are drawn in strata, equally many in each, and averaged by their width.

Strata are set by noise, see `noise_levels`: a schedule has them at diffusion timesteps of its own. Their ``bounds`` are
the first timestep of each, and where the last one ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ann2snn_diffusion.diffusion.noise_levels import own_starts, own_timesteps
from ann2snn_diffusion.diffusion.noise_schedule import noise_schedule
from ann2snn_diffusion.evaluation.site_statistics import Comparison

STRATUM_STARTS = (0, 10, 25, 50, 100, 150, 200, 300, 400, 500, 600, 700, 800, 900)
LOW_NOISE = 50
"""Noise below that of this diffusion timestep is low."""


@dataclass(frozen=True)
class NoiseStratum:
    """A range of diffusion timesteps, ``stop`` exclusive; not to be confused with a noise segment of thresholds."""

    start: int
    stop: int
    epsilon_error: float
    """Σ(ε_SNN − ε_ANN)² / Σε_ANN² over states in it."""
    power: float
    """Mean Σε_ANN² of a state in it."""


def strata_bounds(scheduler: Any) -> tuple[int, ...]:
    """First diffusion timesteps of a scheduler's strata, and the number of its timesteps."""
    return (*own_starts(scheduler, STRATUM_STARTS), len(noise_schedule(scheduler)))


def low_noise_end(scheduler: Any) -> int:
    """First diffusion timestep of a scheduler beyond low noise; its first stratum is low in any case."""
    return max(int(own_timesteps(scheduler, torch.tensor([LOW_NOISE]))), strata_bounds(scheduler)[1])


def stratum_of(diffusion_timesteps: Tensor, bounds: Sequence[int]) -> Tensor:
    """The stratum of each diffusion timestep, int64 [N], on the CPU."""
    return torch.bucketize(diffusion_timesteps.cpu(), torch.tensor(bounds[1:-1]), right=True)


def state_weights(diffusion_timesteps: Tensor, bounds: Sequence[int]) -> Tensor:
    """What each of N states counts in a mean over all diffusion timesteps, each counting the same: float64 [N], Σ = 1.

    The width of its stratum, shared among the states in it; every stratum needs a state.
    """
    index, widths = stratum_of(diffusion_timesteps, bounds), torch.tensor(bounds).diff()
    return (widths.double() / bounds[-1] / torch.bincount(index, minlength=len(widths)))[index]


def noise_strata(
    comparison: Comparison, diffusion_timesteps: Tensor, bounds: Sequence[int]
) -> tuple[NoiseStratum, ...]:
    """What was compared at diffusion timesteps [N] by stratum; every stratum needs a state."""
    index, strata = stratum_of(diffusion_timesteps, bounds), []
    for stratum, (start, stop) in enumerate(pairwise(bounds)):
        error, power = comparison.errors[index == stratum].mean(), comparison.powers[index == stratum].mean()
        strata.append(NoiseStratum(start, stop, (error / power.clamp(min=1e-12)).item(), power.item()))
    return tuple(strata)


def relative_error(strata: Sequence[NoiseStratum]) -> float:
    """Σ(ε_SNN − ε_ANN)² / Σε_ANN² over the diffusion timesteps of all strata, each counting the same."""
    weights = [(stratum.stop - stratum.start) * stratum.power for stratum in strata]
    errors = [weight * stratum.epsilon_error for weight, stratum in zip(weights, strata, strict=True)]
    return sum(errors) / max(sum(weights), 1e-12)


def relative_error_within(comparison: Comparison, diffusion_timesteps: Tensor, bounds: Sequence[int]) -> float | None:
    """Half the width of the 95 % interval of `relative_error`, as of a ratio of stratified means (Cochran 1977, §6).

    None where a stratum has a single state.
    """
    index, widths = stratum_of(diffusion_timesteps, bounds), torch.tensor(bounds).diff().double()
    strata = [index == stratum for stratum in range(len(widths))]
    if any(one.sum() < 2 for one in strata):
        return None
    errors, powers = comparison.errors.double(), comparison.powers.double()
    power = sum(width * powers[one].mean() for width, one in zip(widths, strata, strict=True))
    error = sum(width * errors[one].mean() for width, one in zip(widths, strata, strict=True))
    left = errors - error / power * powers
    variance = sum(width**2 * left[one].var() / one.sum() for width, one in zip(widths, strata, strict=True))
    return float(1.96 * torch.as_tensor(variance).sqrt() / power)


def low_noise(strata: Sequence[NoiseStratum], end: int) -> list[NoiseStratum]:
    """The strata below diffusion timestep ``end``."""
    return [stratum for stratum in strata if stratum.stop <= end]
