"""How close a spiking network stays to its ANN: in predicted noise by noise level, at every site, in final images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.diffusion.trajectories import record, spread_over_segments
from ann2snn_diffusion.evaluation.noise_levels import LEVEL_STARTS, noise_levels
from ann2snn_diffusion.evaluation.report import ConversionReport, summarise
from ann2snn_diffusion.evaluation.site_statistics import CHUNK, compare
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

STATES_PER_LEVEL = 8
SAMPLER_STEPS = 25
LARGEST_PSNR = 100.0


@dataclass(frozen=True)
class ImageDistance:
    """Between final images of both networks from equal noise, mean over pairs."""

    psnr: float
    """Peak signal-to-noise ratio, dB; that of equal images counts as 100."""
    ssim: float
    """Structural similarity, at most 1 (Wang et al. 2004), by scikit-image."""


@torch.no_grad()
def measure_fidelity(
    unet: SpikingUNet2DModel,
    scheduler: Any,
    seed: int = 0,
    track: Callable[[str, int], Callable[[], None]] = lambda stage, steps: lambda: None,
) -> ConversionReport:
    """Compare SNN and ANN at ``STATES_PER_LEVEL`` states of every noise level."""
    # A stream of its own, so that no state is one that calibration, training or sampling with the same seed drew.
    generator = stream(seed, 1)
    trajectories = record(
        unet.ann(), scheduler, STATES_PER_LEVEL, SAMPLER_STEPS, generator, track("ANN trajectories", SAMPLER_STEPS)
    )
    last = len(trajectories.alphas_cumprod)
    count = STATES_PER_LEVEL * sum(start < last for start in LEVEL_STARTS)
    diffusion_timesteps = spread_over_segments(LEVEL_STARTS, last, count, generator).to(unet.device)
    rows = torch.randint(STATES_PER_LEVEL, (count,), generator=generator).to(unet.device)
    states, labels = trajectories.states(rows, diffusion_timesteps)
    advance = track("predictions compared", -(-count // CHUNK))
    comparison = compare(unet, states, diffusion_timesteps, labels, advance)
    return summarise(comparison, noise_levels(comparison, diffusion_timesteps, last))


def image_distance(first: Tensor, second: Tensor) -> ImageDistance:
    """Mean PSNR and SSIM of pairs of images, uint8 [N, C, H, W]."""
    window = min(7, *first.shape[-2:])
    window -= 1 - window % 2  # the window has a centre
    psnr, ssim = [], []
    for one, other in zip(first.numpy(), second.numpy(), strict=True):
        with np.errstate(divide="ignore"):  # equal images
            psnr.append(min(LARGEST_PSNR, peak_signal_noise_ratio(one, other, data_range=255)))
        ssim.append(structural_similarity(one, other, win_size=window, channel_axis=0, data_range=255))
    return ImageDistance(float(np.mean(psnr)), float(np.mean(ssim)))
