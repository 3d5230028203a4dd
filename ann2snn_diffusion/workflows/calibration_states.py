"""The noisy images that a conversion is calibrated on."""

from __future__ import annotations

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.diffusion.conditioning import draw_labels
from ann2snn_diffusion.diffusion.memory import AT_ONCE, bytes_per_image
from ann2snn_diffusion.diffusion.noise_schedule import noise_schedule
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates, noisy_images, spread_over
from ann2snn_diffusion.diffusion.trajectories import StatesSpec, sampling_states
from ann2snn_diffusion.models.loading import Source
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec

PER_TRAJECTORY = 16
MOST_STATES = 352


def state_count(calibration: CalibrationSpec, unet: UNet2DModel, segments: int, processes: int = 1) -> int:
    """States that are calibrated on: as many as asked for; else 352, fewer where they hold much, and at least one for
    each noise segment in each process.
    """
    fitting = processes * (AT_ONCE // bytes_per_image(unet))
    return calibration.states or max(processes * segments, min(MOST_STATES, fitting))


def calibration_states(
    source: Source,
    segments: tuple[float, ...],
    calibration: CalibrationSpec,
    images: Tensor | None,
    generator: torch.Generator,
    track: Track = silent,
) -> NoisyStates:
    """States, equally many of every noise segment: of the ANN's own sampling, or of ``images`` with noise.

    Args:
        source: the ANN, its scheduler, and what lies beside its noisy images; beside ``images`` nothing does.
        segments: the first value of each that the network is told.
        calibration: how many states, and the sampler's steps.
        images: [N, C, H, W] in [−1, 1], or None.
    """
    unet, scheduler = source.unet, source.scheduler
    count, schedule = state_count(calibration, unet, len(segments)), noise_schedule(scheduler)
    starts = tuple(schedule.starts(segments))
    if images is None:
        wanted = StatesSpec(count, starts, PER_TRAJECTORY, calibration.sampler_steps)
        return sampling_states(unet, scheduler, wanted, generator, track, source.condition)
    diffusion_timesteps = spread_over(starts, len(schedule), count, generator).to(unet.device)
    states = noisy_images(images.to(unet.device), diffusion_timesteps, scheduler, generator)
    return NoisyStates(states, diffusion_timesteps, draw_labels(unet, count, generator), schedule=schedule)
