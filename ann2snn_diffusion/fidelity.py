"""How close a spiking network stays to its ANN: in predicted noise by noise level, at every site, in final images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from ann2snn_diffusion.compare import CHUNK, SiteReport, compare
from ann2snn_diffusion.report import LOW_NOISE
from ann2snn_diffusion.trajectories import record
from ann2snn_diffusion.unet import SpikingUNet2DModel

LEVEL_STARTS = (0, 10, 25, 50, 100, 150, 200, 300, 400, 500, 600, 700, 800, 900)
STATES_PER_LEVEL = 16
SAMPLER_STEPS = 25
LARGEST_PSNR = 100.0


@dataclass(frozen=True)
class NoiseLevel:
    """A range of diffusion timesteps, ``stop`` exclusive, with Σ(ε_SNN − ε_ANN)² / Σε_ANN² over states in it."""

    start: int
    stop: int
    epsilon_error: float


@dataclass(frozen=True)
class Fidelity:
    """Errors to the ANN on states of its own sampler."""

    levels: tuple[NoiseLevel, ...]
    epsilon_error: float
    """Relative ε error over all diffusion timesteps, each counting the same."""
    epsilon_error_low_noise: float
    """The same below diffusion timestep 50."""
    firing_rate: float
    """Mean over all neurons and time steps, every noise level counting the same."""
    sites: tuple[SiteReport, ...]


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
) -> Fidelity:
    """Compare predictions at ``STATES_PER_LEVEL`` states of every noise level."""
    # A stream of its own, so that no state is one that calibration or sampling with the same seed drew.
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, 1]).generate_state(1)[0]))
    trajectories = record(
        unet.ann(), scheduler, STATES_PER_LEVEL, SAMPLER_STEPS, generator, track("ANN trajectories", SAMPLER_STEPS)
    )
    last = len(trajectories.alphas_cumprod)
    bounds = torch.tensor([start for start in LEVEL_STARTS if start < last] + [last])
    widths = bounds.diff()
    positions = torch.rand(len(widths), STATES_PER_LEVEL, generator=generator)
    diffusion_timesteps = (bounds[:-1, None] + (positions * widths[:, None]).long()).flatten().to(unet.device)
    rows = torch.arange(STATES_PER_LEVEL).repeat(len(widths)).to(unet.device)
    states, labels = trajectories.states(rows, diffusion_timesteps)
    comparison = compare(
        unet, states, diffusion_timesteps, labels, track("predictions compared", -(-len(states) // CHUNK))
    )
    errors, powers = (part.unflatten(0, (len(widths), -1)).mean(1) for part in (comparison.errors, comparison.powers))

    def weighted(levels: Tensor) -> float:
        return ((errors * widths)[levels].sum() / (powers * widths)[levels].sum().clamp(min=1e-12)).item()

    return Fidelity(
        levels=tuple(
            NoiseLevel(start, stop, error)
            for start, stop, error in zip(
                bounds[:-1].tolist(), bounds[1:].tolist(), (errors / powers.clamp(min=1e-12)).tolist(), strict=True
            )
        ),
        epsilon_error=weighted(bounds[1:] > 0),
        epsilon_error_low_noise=weighted(bounds[1:] <= LOW_NOISE),
        firing_rate=comparison.firing_rate,
        sites=comparison.sites,
    )


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
