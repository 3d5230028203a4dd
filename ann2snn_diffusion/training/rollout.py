"""Trajectories under way, as an endless source of training states: no data set needed.

Each of B images is at its own noise level. At every training step the ANN labels all of them; then DDIM (arXiv
2010.02502, eq. 12, η = 0) moves each on, by the ε of the ANN or, for a share of the images, of the SNN that learns:
so it meets, and learns to undo, its own drift. A finished image starts again from noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.diffusion.conditioning import draw_labels, draw_noise
from ann2snn_diffusion.diffusion.noising import ddim_step
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates


@dataclass(frozen=True)
class Rollout(NoisyStates):
    """B images under way.

    Attributes:
        own: which of them follow the SNN's own trajectory, bool [B].
    """

    own: Tensor


@torch.no_grad()
def start(
    ann: UNet2DModel, scheduler: Any, count: int, steps: int, own_share: float, generator: torch.Generator
) -> Rollout:
    """``count`` images spread evenly over all noise levels, brought there by the ANN in at most ``steps`` passes.

    The first ``own_share`` of them will follow the SNN; which image is at which noise level is drawn.
    """
    levels = len(scheduler.alphas_cumprod)
    states = draw_noise(ann, count, generator)
    goals = (torch.randperm(count, generator=generator) * levels // count).to(ann.device)
    rollout = Rollout(
        states,
        torch.full_like(goals, levels - 1),
        draw_labels(ann, count, generator),
        torch.arange(count, device=ann.device) < round(own_share * count),
    )
    while (rows := (rollout.diffusion_timesteps > goals).nonzero().flatten()).numel():
        timesteps = rollout.diffusion_timesteps[rows]
        labels = None if rollout.class_labels is None else rollout.class_labels[rows]
        predicted = ann(rollout.states[rows], timesteps, labels).sample
        following = torch.maximum(timesteps - max(1, levels // steps), goals[rows])
        rollout.states[rows] = ddim_step(scheduler, predicted, rollout.states[rows], timesteps, following)
        rollout.diffusion_timesteps[rows] = following
    return rollout


@torch.no_grad()
def advance(
    rollout: Rollout, ann: UNet2DModel, scheduler: Any, steps: int, target: Tensor, predicted: Tensor,
    generator: torch.Generator,
) -> Rollout:  # fmt: skip
    """All images one step on, about ``steps`` from noise to image; step widths are drawn, so that every diffusion
    timestep is met.

    Args:
        target, predicted: what ANN and SNN predicted for the rollout, [B, C, H, W].
    """
    count, levels = len(rollout.states), len(scheduler.alphas_cumprod)
    widths = torch.randint(1, max(2, 2 * levels // steps), (count,), generator=generator).to(rollout.states.device)
    noise = torch.randn(rollout.states.shape, generator=generator).to(rollout.states)
    labels = draw_labels(ann, count, generator)
    following = rollout.diffusion_timesteps - widths
    finished = following < 0
    moving = torch.where(rollout.own.view(-1, 1, 1, 1), predicted, target)
    states = ddim_step(scheduler, moving, rollout.states, rollout.diffusion_timesteps, following.clamp(min=0))
    if labels is not None and rollout.class_labels is not None:
        labels = torch.where(finished.view(-1, *[1] * (labels.ndim - 1)), labels, rollout.class_labels)
    return Rollout(
        torch.where(finished.view(-1, 1, 1, 1), noise, states),
        # A new image starts within the first step, not always at the last timestep.
        torch.where(finished, levels + following, following),
        labels,
        rollout.own,
    )
