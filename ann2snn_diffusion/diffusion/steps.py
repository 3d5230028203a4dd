"""One step of a sampler, and the straight piece that it moves on.

Between two steps every state of a trajectory is

    x_s = √signal_s · x̂_0 + √noise_s · ε̂

with a x̂_0 and an ε̂ of the piece's own:

- DDIM (arXiv 2010.02502, eq. 12, η = 0) has those that the network predicts where it begins;
- EDM's Heun step (arXiv 2206.00364, algorithm 1) has the mean of the ε̂ where it begins and where that would end;
- a consistency model (arXiv 2303.01469, algorithm 1) has its x̂_0, and fresh noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ann2snn_diffusion.diffusion.noise_schedule import noise_schedule
from ann2snn_diffusion.diffusion.noising import (
    clipped,
    ddim_step,
    noise_between,
    noisy,
    predicted_image,
    predicted_noise,
)

Predict = Callable[[Tensor, Tensor], Tensor]
"""What a network predicts for x_s [N, C, H, W] at diffusion timesteps, int64 [N]."""


@dataclass(frozen=True)
class Piece:
    """What a step moves on, [N, C, H, W] each."""

    images: Tensor
    """x̂_0."""
    noises: Tensor
    """ε̂."""
    end: Tensor
    """x_s where the next step begins."""


def step(
    predict: Predict, scheduler: Any, states: Tensor, here: Tensor, following: Tensor, generator: torch.Generator
) -> Piece:
    """From x_s at diffusion timesteps ``here`` to those ``following``, int64 [N]: as the scheduler's kind walks."""
    walk = noise_schedule(scheduler).walk
    if walk == "heun":
        return heun(predict, scheduler, states, here, following)
    predicted = predict(states, here)
    images = clipped(scheduler, predicted_image(scheduler, predicted, states, here))
    if walk == "consistency":
        noises = torch.randn(states.shape, generator=generator).to(states)
        return Piece(images, noises, noisy(scheduler, images, noises, following))
    noises = noise_between(scheduler, states, images, here)
    return Piece(images, noises, ddim_step(scheduler, predicted, states, here, following))


def heun(predict: Predict, scheduler: Any, states: Tensor, here: Tensor, following: Tensor) -> Piece:
    """EDM's second-order step; Euler's where ``here`` and ``following`` are the same."""
    predicted = predict(states, here)
    noises = predicted_noise(scheduler, predicted, states, here)
    images = predicted_image(scheduler, predicted, states, here)
    if not torch.equal(here, following):
        end = noisy(scheduler, images, noises, following)
        noises = (noises + predicted_noise(scheduler, predict(end, following), end, following)) / 2
        images = noisy(scheduler, states, -noises, here)  # x_s − σ_s · ε̂
    return Piece(images, noises, noisy(scheduler, images, noises, following))
