"""The sampler's own states: no data set needed.

Samplers move on straight pieces, see `steps`, so a trajectory of few steps has a state at every diffusion timestep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.diffusion.conditioning import draw_labels, draw_noise, in_turn, require_condition
from ann2snn_diffusion.diffusion.memory import images_at_once
from ann2snn_diffusion.diffusion.noise_levels import sampler_timesteps
from ann2snn_diffusion.diffusion.noise_schedule import noise_schedule
from ann2snn_diffusion.diffusion.noising import noisy
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates, spread_over
from ann2snn_diffusion.diffusion.steps import step

ROWS_AT_A_TIME = 32


@dataclass(frozen=True)
class Trajectories:
    """Trajectories of an ANN: for each of K steps and M images, the straight piece that it moved on.

    Attributes:
        starts: diffusion timesteps of the steps, descending, int64 [K].
        images: x̂_0, [K, M, C, H, W].
        noises: ε̂, [K, M, C, H, W].
        scheduler: whose noise levels they have.
        class_labels: int64 [M], or None.
        condition: what lies beside the images, [M, C', H, W], or None.
    """

    starts: Tensor
    images: Tensor
    noises: Tensor
    scheduler: Any
    class_labels: Tensor | None
    condition: Tensor | None = None

    def states(self, rows: Tensor, diffusion_timesteps: Tensor) -> NoisyStates:
        """States of trajectories ``rows`` at diffusion timesteps, int64 [N] each."""
        step = torch.searchsorted(self.starts.flip(0), diffusion_timesteps.contiguous()).clamp(max=len(self.starts) - 1)
        step = len(self.starts) - 1 - step
        states = noisy(self.scheduler, self.images[step, rows], self.noises[step, rows], diffusion_timesteps)
        labels = None if self.class_labels is None else self.class_labels[rows]
        condition = None if self.condition is None else self.condition[rows]
        return NoisyStates(
            states, diffusion_timesteps, labels, schedule=noise_schedule(self.scheduler), condition=condition
        )


@dataclass(frozen=True)
class StatesSpec:
    """Which states are drawn of an ANN's own sampling."""

    count: int
    """States."""
    starts: tuple[int, ...]
    """First diffusion timesteps of ranges that get equally many of them each."""
    per_trajectory: int
    """States that share a trajectory."""
    sampler_steps: int = 25
    """Steps of a trajectory, see `sampler_timesteps`."""


def sampling_states(
    ann: UNet2DModel,
    scheduler: Any,
    spec: StatesSpec,
    generator: torch.Generator,
    track: Track = silent,
    condition: Tensor | None = None,
) -> NoisyStates:
    """States of an ANN's own sampling, spread evenly over ranges of diffusion timesteps.

    Args:
        condition: see `record`.
    """
    images = -(-spec.count // spec.per_trajectory)
    advance = track("ANN trajectories", spec.sampler_steps)
    trajectories = record(ann, scheduler, images, spec.sampler_steps, generator, advance, condition)
    last = len(noise_schedule(scheduler))
    diffusion_timesteps = spread_over(spec.starts, last, spec.count, generator).to(ann.device)
    return trajectories.states(torch.randint(images, (spec.count,), generator=generator).to(ann.device),
                               diffusion_timesteps)  # fmt: skip


@torch.no_grad()
def record(
    ann: UNet2DModel,
    scheduler: Any,
    count: int,
    steps: int,
    generator: torch.Generator,
    advance: Callable[[], None] = lambda: None,
    condition: Tensor | None = None,
) -> Trajectories:
    """Let the ANN sample ``count`` images in ``steps`` steps and keep what it predicted on the way.

    Args:
        condition: what lies beside the images, [M, C', H, W], used in turn; None: the ANN takes none.

    Raises:
        ConditionError: see `require_condition`.
    """
    require_condition(ann, condition)
    schedule, starts = noise_schedule(scheduler), sampler_timesteps(scheduler, steps).to(ann.device)
    state, at_once = draw_noise(ann, count, generator, condition) * schedule.prior, images_at_once(ann)
    labels = draw_labels(ann, count, generator)
    condition = None if condition is None else in_turn(condition.to(state), count)

    def predict(states: Tensor, diffusion_timesteps: Tensor) -> Tensor:
        here = NoisyStates(states, diffusion_timesteps, labels, schedule=schedule, condition=condition)
        batches = [slice(first, first + at_once) for first in range(0, count, at_once)]
        return torch.cat([ann(*here.arguments(rows)).sample for rows in batches])

    images, noises = [], []
    for start, following in zip(starts, [*starts[1:], starts[-1]], strict=True):
        piece = step(predict, scheduler, state, start.expand(count), following.expand(count), generator)
        images.append(piece.images)
        noises.append(piece.noises)
        state = piece.end
        advance()
    return Trajectories(starts, torch.stack(images), torch.stack(noises), scheduler, labels, condition)
