"""Batches of noisy images, each at its own noise level: what a U-Net is asked about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.diffusion.conditioning import beside, draw_labels, draw_noise
from ann2snn_diffusion.diffusion.noise_schedule import NoiseSchedule, noise_schedule
from ann2snn_diffusion.diffusion.noising import noisy, target


@dataclass(frozen=True)
class NoisyStates:
    """N noisy images.

    Attributes:
        states: x_s, [N, C, H, W].
        diffusion_timesteps: their noise levels s, int64 [N].
        class_labels: [N, …], or None.
        schedule: says what a network is given of them; None: x_s and s themselves.
        condition: what lies beside them, [N, C', H, W], or None.
    """

    states: Tensor
    diffusion_timesteps: Tensor
    class_labels: Tensor | None
    schedule: NoiseSchedule | None = field(default=None, kw_only=True)
    condition: Tensor | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.states)

    def arguments(self, rows: slice = slice(None)) -> tuple[Tensor, Tensor, Tensor | None]:
        """The arguments of a U-Net for some rows: its input [N, C + C', H, W], what it is told, and labels."""
        labels = None if self.class_labels is None else self.class_labels[rows]
        condition = None if self.condition is None else self.condition[rows]
        states, told = self.states[rows], self.diffusion_timesteps[rows]
        if self.schedule is not None:
            states, told = self.schedule.asked(states, told)
        return beside(states, condition), told, labels

    def part(self, rows: slice) -> NoisyStates:
        """Some of them."""
        labels = None if self.class_labels is None else self.class_labels[rows]
        condition = None if self.condition is None else self.condition[rows]
        return NoisyStates(
            self.states[rows], self.diffusion_timesteps[rows], labels, schedule=self.schedule, condition=condition
        )

    def split(self, size: int) -> list[NoisyStates]:
        """All of them, ``size`` at a time."""
        return [self.part(slice(first, first + size)) for first in range(0, len(self), size)]


@dataclass(frozen=True)
class NoisyImages(NoisyStates):
    """Noisy states of real images.

    Attributes:
        target: what the DDPM loss asks the network for, [N, C, H, W].
    """

    target: Tensor


def add_noise(pixels: Tensor, unet: UNet2DModel, scheduler: Any, generator: torch.Generator) -> NoisyImages:
    """Images, uint8 [N, 3, H, W], at diffusion timesteps drawn uniformly."""
    clean = pixels[:, : unet.config["in_channels"]].float() / 127.5 - 1
    noise = torch.randn(clean.shape, generator=generator)
    diffusion_timesteps = torch.randint(len(noise_schedule(scheduler)), (len(clean),), generator=generator)
    labels = draw_labels(unet, len(clean), generator)
    states = noisy(scheduler, clean, noise, diffusion_timesteps)
    wanted = target(scheduler, clean, noise, diffusion_timesteps)
    states, diffusion_timesteps, wanted = (part.to(unet.device) for part in (states, diffusion_timesteps, wanted))
    return NoisyImages(states, diffusion_timesteps, labels, wanted)


def noisy_images(images: Tensor, diffusion_timesteps: Tensor, scheduler: Any, generator: torch.Generator) -> Tensor:
    """x_s for as many diffusion timesteps [N] as asked, from clean images [M, C, H, W] in [−1, 1], used in turn."""
    black = noise_schedule(scheduler).darkest
    clean = images[torch.arange(len(diffusion_timesteps), device=images.device) % len(images)]
    clean = clean if black == -1 else black + (1 - black) * (clean + 1) / 2
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    return noisy(scheduler, clean, noise, diffusion_timesteps)


def spread_over(starts: tuple[int, ...], last: int, count: int, generator: torch.Generator) -> Tensor:
    """Diffusion timesteps, int64 [count], equally many from each of the ranges that begin at ``starts``, uniform in it.

    Args:
        last: where the last range ends, exclusive; ranges beyond it are left out.
    """
    bounds = [start for start in starts if start < last] + [last]
    shares = torch.arange(count) % (len(bounds) - 1)
    low, high = torch.tensor(bounds[:-1])[shares], torch.tensor(bounds[1:])[shares]
    return low + (torch.rand(count, generator=generator) * (high - low)).long()


def any_state(unet: UNet2DModel, schedule: NoiseSchedule) -> NoisyStates:
    """One state that a network can be asked about, where it does not matter which: noise at the first timestep."""
    generator, first = torch.Generator().manual_seed(0), torch.zeros(1, dtype=torch.long, device=unet.device)
    return NoisyStates(draw_noise(unet, 1, generator), first, draw_labels(unet, 1, generator), schedule=schedule)
