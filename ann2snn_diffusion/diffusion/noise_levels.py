"""Noise levels, told by diffusion timesteps of one reference: DDPM's, 1000 steps of linear β from 1e-4 to 0.02.

Numbers such as "below 50" and "25 steps" say how noisy an image is. Every schedule has that noise at a diffusion
timestep of its own, the first whose log SNR = log ᾱ / (1 − ᾱ) is as low. On the reference each timestep is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from ann2snn_diffusion.diffusion.noise_schedule import edm_levels, noise_schedule

REFERENCE_TIMESTEPS = 1000


def own_timesteps(scheduler: Any, reference: Tensor) -> Tensor:
    """Diffusion timesteps of a scheduler as noisy as those of the reference, int64 [N] both.

    The number of its timesteps, which is none of them, where it has nothing as noisy.
    """
    own, noise = (noise_schedule(one).noise_to_signal().cpu() for one in (scheduler, _reference()))
    beyond = noise.new_full((1,), torch.inf)
    found = torch.searchsorted(own, torch.cat([noise, beyond])[reference.clamp(max=REFERENCE_TIMESTEPS)])
    return torch.where(reference < REFERENCE_TIMESTEPS, found, len(own))


def own_starts(scheduler: Any, reference: Sequence[int]) -> dict[int, int]:
    """Where a scheduler's ranges of diffusion timesteps start, ascending from 0, each with the reference's that it is.

    Ranges that it does not reach are left out, and of several that start at the same timestep the last one counts.
    """
    found = own_timesteps(scheduler, torch.tensor(reference)).tolist()
    pairs = {0 if first == 0 else start: first for start, first in zip(found, reference, strict=True)}
    return {start: first for start, first in pairs.items() if start < len(noise_schedule(scheduler))}


def sampler_timesteps(scheduler: Any, steps: int) -> Tensor:
    """Diffusion timesteps, int64 descending, as noisy as those of ``steps`` DDIM steps on the reference.

    Those that a shorter schedule cannot tell apart come once; where the reference goes on beyond its last one, it
    begins there. Where noise grows and the signal stays, they are EDM's, from the largest σ on (arXiv 2206.00364).
    """
    schedule = noise_schedule(scheduler)
    if schedule.walk != "ddim":
        sigma = schedule.noise.sqrt().double()
        wanted = edm_levels(sigma[0].item(), sigma[-1].item(), steps)
        return (sigma - wanted[:, None]).abs().argmin(1).unique().flip(0)
    reference = _reference(**{name: scheduler.config[name] for name in ("steps_offset", "timestep_spacing")
                              if name in scheduler.config})  # fmt: skip
    reference.set_timesteps(steps)
    own = own_timesteps(scheduler, reference.timesteps.cpu())
    return own.clamp(max=len(schedule) - 1).unique().flip(0)


def _reference(**spacing: Any) -> DDIMScheduler:
    return DDIMScheduler(num_train_timesteps=REFERENCE_TIMESTEPS, **spacing)
