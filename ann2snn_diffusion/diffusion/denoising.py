"""One image on its way from noise: what a network makes of it at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.random_streams import image_stream
from ann2snn_diffusion.diffusion.noise_schedule import noise_schedule
from ann2snn_diffusion.diffusion.sampling import Decode, NotFiniteError
from ann2snn_diffusion.diffusion.trajectories import record


@dataclass(frozen=True)
class Denoising:
    """One image at K diffusion timesteps, and finished."""

    diffusion_timesteps: tuple[int, ...]
    """K, descending."""
    images: Tensor
    """The noisy image at each, as a picture in [0, 1], and last the finished one: [K + 1, C, H, W]."""


@dataclass(frozen=True)
class DenoisingSpec:
    """Which image is followed, and how."""

    steps: int = 25
    """Of DDIM, or of what the model has in its place."""
    seed: int = 0
    """Of the image, as `a2s sample` has it."""
    decode: Decode | None = None
    """None: the network draws images."""
    condition: Tensor | None = None
    """What lies beside the image, [M, C', H, W], of which the first is taken; None: the network takes none."""


@torch.no_grad()
def follow(
    network: UNet2DModel, scheduler: Any, spec: DenoisingSpec | None = None, track: Track = silent, name: str = "SNN"
) -> Denoising:
    """Let a network draw one image, and keep it at every step.

    A state whose noise grows beyond its signal is shown in units of its standard deviation.

    Args:
        name: of the network, told to ``track``.

    Raises:
        ConditionError: see `require_condition`.
        NotFiniteError: the image is not finite.
    """
    spec, schedule = spec or DenoisingSpec(), noise_schedule(scheduler)
    advance, generator = track(f"one image, {name}", spec.steps), image_stream(spec.seed, 0)
    found = record(network, scheduler, 1, spec.steps, generator, advance, spec.condition)
    noisy = found.states(torch.zeros_like(found.starts), found.starts).states
    power = (schedule.signal + schedule.noise).to(noisy)[found.starts].clamp(min=1)
    states = torch.cat([noisy / power.sqrt().view(-1, 1, 1, 1), found.images[-1]])
    if not torch.isfinite(states).all():
        raise NotFiniteError(f"The image of the {name} holds values that are not finite.")
    if spec.decode is not None:
        states, darkest = torch.cat([spec.decode(state) for state in states.split(1)]), -1.0
    else:
        darkest = schedule.darkest
    pictures = ((states - darkest) / (1 - darkest)).clamp(0, 1)
    return Denoising(tuple(found.starts.tolist()), pictures.cpu())
