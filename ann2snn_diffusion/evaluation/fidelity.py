"""How close a spiking network stays to its ANN: in predicted noise by noise stratum, at every site, in final images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DModel
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.diffusion.memory import fewer_if_large
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.diffusion.trajectories import StatesSpec, sampling_states
from ann2snn_diffusion.evaluation.costs import costs_of
from ann2snn_diffusion.evaluation.fidelity_report import FidelityReport, summarise
from ann2snn_diffusion.evaluation.noise_strata import low_noise_end, noise_strata, relative_error_within, strata_bounds
from ann2snn_diffusion.evaluation.site_statistics import compare
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

LARGEST_PSNR = 100.0
MOST_STATES, LEAST_STATES = 8, 2
"""In each noise stratum, unless more or fewer are asked for."""


@dataclass(frozen=True)
class FidelitySpec:
    """On which states a network is compared with its ANN."""

    states_per_stratum: int | None = None
    """Noisy images in each noise stratum; as many trajectories are recorded. None: 8, or fewer where they are large."""
    sampler_steps: int = 25
    """DDIM steps of the trajectories."""

    def per_stratum(self, unet: UNet2DModel) -> int:
        """Noisy images of a network in each noise stratum: an error is a mean over their pixels."""
        return self.states_per_stratum or fewer_if_large(unet, MOST_STATES, LEAST_STATES)


@dataclass(frozen=True)
class ImageDistance:
    """Between final images of both networks from equal noise, mean over pairs."""

    psnr: float
    """Peak signal-to-noise ratio, dB; that of equal images counts as 100."""
    ssim: float
    """Structural similarity, at most 1 (Wang et al. 2004), by scikit-image."""


def measure_fidelity(
    unet: SpikingUNet2DModel,
    scheduler: Any,
    seed: int = 0,
    spec: FidelitySpec | None = None,
    track: Track = silent,
    unfolded: SpikingUNet2DModel | None = None,
    condition: Tensor | None = None,
) -> FidelityReport:
    """Compare SNN and ANN at states of every noise stratum, from the ANN's own sampling.

    Args:
        unfolded: what ``unet`` was folded from, and has the ANN; None: ``unet`` has it.
        condition: what lies beside noisy images, [M, C', H, W], used in turn; None: the network takes none.

    Raises:
        FoldedError: the ANN is gone.
    """
    states = fidelity_states(unfolded or unet, scheduler, seed, spec, track, condition)
    return fidelity_on(unet, scheduler, states, spec, track, unfolded)


def fidelity_states(
    unet: SpikingUNet2DModel,
    scheduler: Any,
    seed: int = 0,
    spec: FidelitySpec | None = None,
    track: Track = silent,
    condition: Tensor | None = None,
) -> NoisyStates:
    """States of every noise stratum, from the sampling of the ANN behind ``unet``."""
    with analog(unet):
        return own_states(unet, scheduler, seed, spec, track, condition)


def own_states(
    network: UNet2DModel,
    scheduler: Any,
    seed: int = 0,
    spec: FidelitySpec | None = None,
    track: Track = silent,
    condition: Tensor | None = None,
) -> NoisyStates:
    """States of every noise stratum, from a network's own sampling."""
    spec, starts = spec or FidelitySpec(), strata_bounds(scheduler)[:-1]
    count = spec.per_stratum(network) * len(starts)
    wanted = StatesSpec(count, starts, per_trajectory=len(starts), sampler_steps=spec.sampler_steps)
    return sampling_states(network, scheduler, wanted, stream("fidelity", seed), track, condition)


@torch.no_grad()
def fidelity_on(
    unet: SpikingUNet2DModel,
    scheduler: Any,
    states: NoisyStates,
    spec: FidelitySpec | None = None,
    track: Track = silent,
    unfolded: SpikingUNet2DModel | None = None,
) -> FidelityReport:
    """Compare SNN and ANN at ``states``, at least one of every noise stratum; see `measure_fidelity`."""
    spec, bounds = spec or FidelitySpec(), strata_bounds(scheduler)
    comparison = compare(unet, scheduler, states, track("predictions compared", len(states)), unfolded)
    costs = costs_of(
        comparison.layout, comparison.counts, comparison.ann_effective, states.diffusion_timesteps, bounds,
        spec.sampler_steps,
    )  # fmt: skip
    strata = noise_strata(comparison, states.diffusion_timesteps, bounds)
    within = relative_error_within(comparison, states.diffusion_timesteps, bounds)
    return summarise(comparison, strata, within, low_noise_end(scheduler), costs)


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
