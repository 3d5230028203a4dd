"""Whether an ANN can be converted, before any work is done, and where its schedule has the noise segments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.errors import A2SError, first_line
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.diffusion.conditioning import draw_labels, draw_noise, in_turn, require_condition
from ann2snn_diffusion.diffusion.noise_levels import own_starts
from ann2snn_diffusion.diffusion.noise_schedule import noise_schedule
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.spiking.spec import SEGMENTS, SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration.observe import visiting


class ConversionError(A2SError):
    """A conversion that would not be one."""


def on_schedule(spec: SpikeSpec, scheduler: Any) -> SpikeSpec:
    """``spec`` with the noise segments, and the guidance of each, at a scheduler's own diffusion timesteps.

    Raises:
        SpecError: segments that are no diffusion timesteps of DDPM's schedule.
    """
    whole = tuple(first for first in spec.segments if isinstance(first, int) and first >= 0)
    require(whole == spec.segments, "segments", spec.segments, SEGMENTS)
    starts = own_starts(scheduler, whole)
    own = noise_schedule(scheduler).first_told(list(starts))
    if own == spec.segments:
        return spec
    names = {f"segment.{first}": f"segment.{start}" for start, first in zip(own, starts.values(), strict=True)}
    guidance = spec.guidance
    if isinstance(guidance, Mapping):
        kept = {group: factor for group, factor in guidance.items() if group in names or "segment." not in group}
        guidance = {names.get(group, group): factor for group, factor in kept.items()}
    return replace(spec, segments=own, guidance=guidance)


def refuse_unfit(unet: UNet2DModel, scheduler: Any, condition: Tensor | None = None) -> None:
    """Look at an ANN, its scheduler, and what lies beside its noisy images, before any work is done.

    Raises:
        ScheduleError: a scheduler of a kind that is not known, as of flow matching models.
        ConditionError: the ANN takes more than noisy images and ``condition``, or other conditions.
        ConversionError: a network that is spiking already; one that fails on its own images, or whose output is not
            finite.
    """
    if isinstance(unet, SpikingUNet2DModel):
        raise ConversionError("The network is spiking already; pass the ANN that it was converted from, its `ann()`.")
    noise_schedule(scheduler)
    require_condition(unet, condition)
    _refuse_not_finite(unet, scheduler, condition)


@torch.no_grad()
def _refuse_not_finite(unet: UNet2DModel, scheduler: Any, condition: Tensor | None) -> None:
    """Run the ANN once, on white noise at its least and largest noise, and name the first layer that goes wrong."""
    generator, schedule = stream("calibration", 0), noise_schedule(scheduler)
    ends = torch.tensor([0, len(schedule) - 1], device=unet.device)
    size = (schedule.signal + schedule.noise).to(unet.device)[ends].sqrt().view(-1, 1, 1, 1)
    noise, labels = draw_noise(unet, 2, generator, condition) * size, draw_labels(unet, 2, generator)
    states = NoisyStates(noise, ends, labels, schedule=schedule, condition=in_turn(condition, 2))
    broken: list[str] = []

    def look(name: str, received: Any, output: Any) -> None:
        del received
        if isinstance(output, Tensor) and not torch.isfinite(output).all():
            broken.append(name)

    layers = [(layer, partial(look, name)) for name, layer in unet.named_modules() if not list(layer.children())]
    with visiting(after=layers):
        try:
            unet(*states.arguments())
        except (RuntimeError, ValueError, TypeError) as error:
            size = unet.config["sample_size"]
            raise ConversionError(f"The ANN fails on images of sample_size = {size}: {first_line(error)}") from error
    if broken:
        raise ConversionError(f"The ANN's own output is not finite: first what {broken[0]} gives for white noise.")
