"""The noisy images that a conversion is calibrated on."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.diffusion.conditioning import draw_labels, sample_size
from ann2snn_diffusion.diffusion.noise_schedule import noise_schedule
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates, noisy_images, spread_over
from ann2snn_diffusion.diffusion.trajectories import StatesSpec, sampling_states
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec

PER_TRAJECTORY = 16
MOST_STATES = 352
FEWER_BEYOND = 32 * 32
"""Pixels of an image, beyond which more of them stand for fewer images."""


def enough_states(unet: UNet2DModel, segments: int) -> int:
    """States of which there are pixels enough to calibrate on: 352 of 32 × 32, at least one for each noise segment."""
    return max(segments, min(MOST_STATES, MOST_STATES * FEWER_BEYOND // prod(sample_size(unet))))


def calibration_states(
    unet: UNet2DModel,
    scheduler: Any,
    segments: tuple[float, ...],
    calibration: CalibrationSpec,
    images: Tensor | None,
    generator: torch.Generator,
    track: Track = silent,
) -> NoisyStates:
    """States, equally many of every noise segment: of the ANN's own sampling, or of ``images`` with noise.

    Args:
        segments: the first value of each that the network is told.
        calibration: how many states, and the sampler's steps.
        images: [N, C, H, W] in [−1, 1], or None.
    """
    count, schedule = calibration.states or enough_states(unet, len(segments)), noise_schedule(scheduler)
    starts = tuple(schedule.starts(segments))
    if images is None:
        wanted = StatesSpec(count, starts, PER_TRAJECTORY, calibration.sampler_steps)
        return sampling_states(unet, scheduler, wanted, generator, track)
    diffusion_timesteps = spread_over(starts, len(schedule), count, generator).to(unet.device)
    states = noisy_images(images.to(unet.device), diffusion_timesteps, scheduler, generator)
    return NoisyStates(states, diffusion_timesteps, draw_labels(unet, count, generator), schedule=schedule)
