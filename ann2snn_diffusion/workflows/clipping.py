"""Converted networks and the clip of their sampler: which know of it, and how they are settled to it."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.progress import Track
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.diffusion.memory import fewer_if_large, images_at_once
from ann2snn_diffusion.diffusion.noise_schedule import noise_schedule
from ann2snn_diffusion.diffusion.noising import clip_range
from ann2snn_diffusion.diffusion.trajectories import StatesSpec, sampling_states
from ann2snn_diffusion.spiking.ann_outputs import Batch, rows_of_batch, split_batch
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.spiking.settle_overshoot import attach_overshoot, settle_overshoot
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.workflows.calibration_states import PER_TRAJECTORY

MOST_STATES = 88
"""That a network is settled on, unless they are large: 8 in each of the usual noise segments."""


def tell_of_clip(unet: SpikingUNet2DModel, scheduler: Any) -> None:
    """Have a network know of the clip of ``scheduler``, if that has one; the network gives ε, and takes x_s alone."""
    clip, schedule = clip_range(scheduler), noise_schedule(scheduler)
    gives_epsilon = schedule.prediction == "epsilon" and unet.config["in_channels"] == unet.config["out_channels"]
    if clip is not None and gives_epsilon:
        attach_overshoot(unet, schedule.signal, clip)


def settle(unet: SpikingUNet2DModel, batch: Batch, expected: Tensor, track: Track) -> None:
    """Settle a network that knows of a clip, on the first states of ``batch``, as many of each noise segment.

    Args:
        expected: the ANN's ε for all of them, [N, C, H, W].
    """
    if unet.overshoot is not None:
        some = slice(0, _count(unet))
        advance = track("sampler's clip", len(expected[some]))
        settle_overshoot(unet, rows_of_batch(batch, some), expected[some], images_at_once(unet), advance)


@torch.no_grad()
def settle_anew(unet: SpikingUNet2DModel, ann: UNet2DModel, scheduler: Any, seed: int, track: Track) -> None:
    """Settle a trained network, on states of the sampling of ``ann``."""
    if unet.overshoot is not None:
        starts = tuple(noise_schedule(scheduler).starts(unet.spec.segments))
        wanted = StatesSpec(_count(unet), starts, PER_TRAJECTORY)
        batch = sampling_states(ann, scheduler, wanted, stream("clip", seed), track).arguments()
        with analog(unet):
            expected = torch.cat([unet(*some).sample for some in split_batch(batch, images_at_once(unet))])
        settle(unet, batch, expected, track)


def _count(unet: SpikingUNet2DModel) -> int:
    return fewer_if_large(unet, MOST_STATES, len(unet.spec.segments))
