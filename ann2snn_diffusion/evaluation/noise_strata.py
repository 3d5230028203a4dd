"""Errors by noise stratum, and their average over all diffusion timesteps.

Errors to the ANN are by far largest near clean images, in a few diffusion timesteps out of 1000: drawn uniformly, they
would be hit or missed by chance. So states are drawn in strata, equally many in each, and averaged by their width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ann2snn_diffusion.evaluation.site_statistics import Comparison

STRATUM_STARTS = (0, 10, 25, 50, 100, 150, 200, 300, 400, 500, 600, 700, 800, 900)
LOW_NOISE = 50


@dataclass(frozen=True)
class NoiseStratum:
    """A range of diffusion timesteps, ``stop`` exclusive; not to be confused with a noise segment of thresholds."""

    start: int
    stop: int
    epsilon_error: float
    """Σ(ε_SNN − ε_ANN)² / Σε_ANN² over states in it."""
    power: float
    """Mean Σε_ANN² of a state in it."""


def strata_below(last: int) -> tuple[int, ...]:
    """First diffusion timesteps of the strata that begin below ``last``."""
    return tuple(start for start in STRATUM_STARTS if start < last)


def stratum_of(diffusion_timesteps: Tensor, last: int) -> Tensor:
    """The stratum of each diffusion timestep, int64 [N], on the CPU."""
    return torch.bucketize(diffusion_timesteps.cpu(), torch.tensor(strata_below(last)[1:]), right=True)


def state_weights(diffusion_timesteps: Tensor, last: int) -> Tensor:
    """What each of N states counts in a mean over all diffusion timesteps, each counting the same: float64 [N], Σ = 1.

    The width of its stratum, shared among the states in it; every stratum needs a state.
    """
    starts, index = strata_below(last), stratum_of(diffusion_timesteps, last)
    widths = torch.tensor([*starts, last]).diff()
    return (widths.double() / last / torch.bincount(index, minlength=len(starts)))[index]


def noise_strata(comparison: Comparison, diffusion_timesteps: Tensor, last: int) -> tuple[NoiseStratum, ...]:
    """What was compared at diffusion timesteps [N], all below ``last``, by stratum; every stratum needs a state."""
    starts, index = strata_below(last), stratum_of(diffusion_timesteps, last)
    strata = []
    for stratum, (start, stop) in enumerate(zip(starts, [*starts[1:], last], strict=True)):
        error, power = comparison.errors[index == stratum].mean(), comparison.powers[index == stratum].mean()
        strata.append(NoiseStratum(start, stop, (error / power.clamp(min=1e-12)).item(), power.item()))
    return tuple(strata)


def relative_error(strata: Sequence[NoiseStratum]) -> float:
    """Σ(ε_SNN − ε_ANN)² / Σε_ANN² over the diffusion timesteps of all strata, each counting the same."""
    weights = [(stratum.stop - stratum.start) * stratum.power for stratum in strata]
    errors = [weight * stratum.epsilon_error for weight, stratum in zip(weights, strata, strict=True)]
    return sum(errors) / max(sum(weights), 1e-12)


def low_noise(strata: Sequence[NoiseStratum]) -> list[NoiseStratum]:
    """The strata below diffusion timestep 50."""
    return [stratum for stratum in strata if stratum.stop <= LOW_NOISE]
