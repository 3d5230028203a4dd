"""Batches of noisy states that a network learns on; each a pure function of seed, process and step, or of the last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.diffusion.trajectories import draw_labels


@dataclass
class TrainingStates:
    """B noisy states.

    Attributes:
        states: x_t, [B, C, H, W].
        diffusion_timesteps: their noise levels, int64 [B].
        class_labels: [B, …], or None.
    """

    states: Tensor
    diffusion_timesteps: Tensor
    class_labels: Tensor | None


@dataclass
class NoisyImages(TrainingStates):
    """Noisy states of real images.

    Attributes:
        target: what the DDPM loss asks the network for, [B, C, H, W].
    """

    target: Tensor


def image_batches(
    images: Dataset[Tensor], count: int, total: int, seed: int, process: int, first: int, last: int, workers: int
) -> Iterator[Tensor]:
    """Batches of ``count`` of ``total`` images for the steps ``first`` … ``last`` − 1, uint8 [B, 3, H, W]."""
    rows = [
        torch.randint(total, (count,), generator=stream(seed, process, step)).tolist() for step in range(first, last)
    ]
    return iter(DataLoader(images, batch_sampler=rows, num_workers=workers))


def add_noise(pixels: Tensor, unet: Any, scheduler: Any, generator: torch.Generator) -> NoisyImages:
    """Images, uint8 [B, 3, H, W], at diffusion timesteps drawn uniformly."""
    clean = pixels[:, : unet.config["in_channels"]].float() / 127.5 - 1
    noise = torch.randn(clean.shape, generator=generator)
    diffusion_timesteps = torch.randint(len(scheduler.alphas_cumprod), (len(clean),), generator=generator)
    labels = draw_labels(unet, len(clean), generator)
    kind = scheduler.config.prediction_type
    if kind == "v_prediction":
        target = scheduler.get_velocity(clean, noise, diffusion_timesteps)
    else:
        target = clean if kind == "sample" else noise
    states = scheduler.add_noise(clean, noise, diffusion_timesteps)
    states, diffusion_timesteps, target = (part.to(unet.device) for part in (states, diffusion_timesteps, target))
    return NoisyImages(states, diffusion_timesteps, labels, target)
