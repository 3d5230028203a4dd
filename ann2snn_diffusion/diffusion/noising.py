"""Clean images, noise, and what lies between them: the only place with √ᾱ.

    x_s = √ᾱ_s · x_0 + √(1 − ᾱ_s) · ε        (DDPM, arXiv 2006.11239, eq. 4)
    v_s = √ᾱ_s · ε − √(1 − ᾱ_s) · x_0        (arXiv 2202.00512, appendix D)

A network predicts ε, v or x_0, as its scheduler's ``prediction_type`` says; from x_s and any of them the others follow.
Where it also predicts a variance, that is the second half of its channels, and left aside here.
Each row has its own diffusion timestep s: images are [N, C, H, W], diffusion timesteps int64 [N].
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor

SMALLEST_SIGNAL = 2**-12
"""Least √ᾱ that is divided by: at zero terminal SNR a state tells nothing of x_0."""


def prediction_type(scheduler: Any) -> str:
    """``epsilon``, ``v_prediction`` or ``sample``."""
    return scheduler.config.get("prediction_type", "epsilon")


def roots(scheduler: Any, diffusion_timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """√ᾱ_s and √(1 − ᾱ_s) of each row, [N, 1, 1, 1]."""
    signal = scheduler.alphas_cumprod.to(diffusion_timesteps.device)[diffusion_timesteps].view(-1, 1, 1, 1)
    return signal.sqrt(), (1 - signal).sqrt()


def noisy(scheduler: Any, clean: Tensor, noise: Tensor, diffusion_timesteps: Tensor) -> Tensor:
    """x_s from x_0 and ε."""
    signal, rest = roots(scheduler, diffusion_timesteps)
    return signal * clean + rest * noise


def target(scheduler: Any, clean: Tensor, noise: Tensor, diffusion_timesteps: Tensor) -> Tensor:
    """What the network should predict from x_s: ε, v or x_0."""
    kind = prediction_type(scheduler)
    if kind == "v_prediction":
        signal, rest = roots(scheduler, diffusion_timesteps)
        return signal * noise - rest * clean
    return clean if kind == "sample" else noise


def predicted_image(scheduler: Any, predicted: Tensor, states: Tensor, diffusion_timesteps: Tensor) -> Tensor:
    """x̂_0 from what the network predicted for x_s; not clipped."""
    kind, predicted = prediction_type(scheduler), predicted[:, : states.shape[1]]
    if kind == "sample":
        return predicted
    signal, rest = roots(scheduler, diffusion_timesteps)
    if kind == "v_prediction":
        return signal * states - rest * predicted
    return (states - rest * predicted) / signal.clamp(min=SMALLEST_SIGNAL)


def predicted_noise(scheduler: Any, predicted: Tensor, states: Tensor, diffusion_timesteps: Tensor) -> Tensor:
    """ε̂ from what the network predicted for x_s."""
    kind, predicted = prediction_type(scheduler), predicted[:, : states.shape[1]]
    if kind == "sample":
        return noise_between(scheduler, states, predicted, diffusion_timesteps)
    signal, rest = roots(scheduler, diffusion_timesteps)
    return signal * predicted + rest * states if kind == "v_prediction" else predicted


def noise_between(scheduler: Any, states: Tensor, clean: Tensor, diffusion_timesteps: Tensor) -> Tensor:
    """ε̂ that takes x̂_0 (``clean``) to x_s."""
    signal, rest = roots(scheduler, diffusion_timesteps)
    return (states - signal * clean) / rest


def image_error_weights(scheduler: Any, bounds: Sequence[int], steps: int = 25) -> Tensor:
    """What a squared error of ε in each range of diffusion timesteps does to the image that is drawn, at most 1.

    DDIM in the noise-to-signal ratio σ = √(1 − ᾱ) / √ᾱ moves x / √ᾱ by Δσ · ε (arXiv 2010.02502, eq. 14): an error
    enters with Δσ², and one far from the image, at large σ, fades as later steps undo it:

        w_s = min(Δσ_s, σ_s)² / (1 + σ_s²),    Δσ of one of ``steps`` steps

    What is weighed is the network's own output: where it predicts v or x_0, its error in ε is √ᾱ or 1/σ times as large.

    Args:
        bounds: K + 1 diffusion timesteps, ascending.
    """
    ratio = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).sqrt().double().cpu()
    moved = torch.cat([ratio[:1], ratio.diff()]) * max(1, len(ratio) / steps)
    weights = torch.minimum(moved, ratio).square() / (1 + ratio.square())
    weights = weights.nan_to_num(1)  # at zero terminal SNR
    kind = prediction_type(scheduler)
    if kind != "epsilon":
        weights = weights / (ratio.square() if kind == "sample" else 1 + ratio.square())
    of_ranges = torch.stack([weights[low:high].mean() for low, high in pairwise(bounds)])
    return (of_ranges / of_ranges.max()).float()


def ddim_step(
    scheduler: Any, predicted: Tensor, states: Tensor, diffusion_timesteps: Tensor, following: Tensor
) -> Tensor:
    """x_s' = √ᾱ_s' · x̂_0 + √(1 − ᾱ_s') · ε̂, each row from its own s to its own s' (arXiv 2010.02502, eq. 12, η = 0).

    Equal to `DDIMScheduler.step`: where x̂_0 is clipped or thresholded, ε̂ stays as it was predicted. A scheduler that
    knows no clipping does not clip.
    """
    clean = clipped(scheduler, predicted_image(scheduler, predicted, states, diffusion_timesteps))
    return noisy(scheduler, clean, predicted_noise(scheduler, predicted, states, diffusion_timesteps), following)


def clipped(scheduler: Any, clean: Tensor) -> Tensor:
    """x̂_0 [N, C, H, W] as the scheduler's DDIM has it: thresholded by its own range, clipped, or as it is."""
    config = scheduler.config
    if config.get("thresholding", False):
        ddim: Any = DDIMScheduler.from_config(config)
        return ddim._threshold_sample(clean)
    if config.get("clip_sample", False):
        largest = config.get("clip_sample_range", 1.0)
        return clean.clamp(-largest, largest)
    return clean
