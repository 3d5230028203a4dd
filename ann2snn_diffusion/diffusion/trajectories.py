"""The sampler's own states as calibration data: no data set needed.

DDIM (arXiv 2010.02502, eq. 12, η = 0) moves on straight pieces: between two of its steps every state is

    x_s = √ᾱ_s · x̂_0 + √(1 − ᾱ_s) · ε̂

with the x̂_0 and ε̂ that the ANN predicted at the step before, so a trajectory of few steps has a state at every
diffusion timestep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor


@dataclass(frozen=True)
class Trajectories:
    """DDIM trajectories of an ANN: for each of K steps and M images, what was predicted.

    Attributes:
        starts: diffusion timesteps of the steps, descending, int64 [K].
        images: x̂_0, [K, M, C, H, W].
        noises: ε̂, [K, M, C, H, W].
        alphas_cumprod: ᾱ by diffusion timestep.
        class_labels: int64 [M], or None.
    """

    starts: Tensor
    images: Tensor
    noises: Tensor
    alphas_cumprod: Tensor
    class_labels: Tensor | None

    def states(self, rows: Tensor, diffusion_timesteps: Tensor) -> tuple[Tensor, Tensor | None]:
        """States [N, C, H, W] of trajectories ``rows`` at diffusion timesteps, int64 [N] each; and class labels."""
        step = torch.searchsorted(self.starts.flip(0), diffusion_timesteps.contiguous()).clamp(max=len(self.starts) - 1)
        step = len(self.starts) - 1 - step
        signal = self.alphas_cumprod[diffusion_timesteps].view(-1, 1, 1, 1)
        states = signal.sqrt() * self.images[step, rows] + (1 - signal).sqrt() * self.noises[step, rows]
        return states, None if self.class_labels is None else self.class_labels[rows]


@torch.no_grad()
def record(
    unet: UNet2DModel,
    scheduler: Any,
    count: int,
    steps: int,
    generator: torch.Generator,
    advance: Callable[[], None] = lambda: None,
    batch_size: int = 32,
) -> Trajectories:
    """Let the ANN sample ``count`` images in ``steps`` DDIM steps and keep what it predicted on the way."""
    sampler: Any = DDIMScheduler.from_config(scheduler.config)
    sampler.set_timesteps(steps)
    height, width = sample_size(unet)
    state = torch.randn(count, unet.config["in_channels"], height, width, generator=generator).to(unet.device)
    labels = draw_labels(unet, count, generator)
    images, noises = [], []
    for start in sampler.timesteps:
        parts = zip(
            state.split(batch_size), [None] * count if labels is None else labels.split(batch_size), strict=False
        )
        prediction = torch.cat([unet(part, start, label).sample for part, label in parts])
        result = sampler.step(prediction, start, state)
        signal = sampler.alphas_cumprod[start]
        images.append(result.pred_original_sample)
        noises.append((state - signal.sqrt() * images[-1]) / (1 - signal).sqrt())
        state = result.prev_sample
        advance()
    return Trajectories(
        sampler.timesteps.to(state.device), torch.stack(images), torch.stack(noises),
        sampler.alphas_cumprod.to(state.device), labels,
    )  # fmt: skip


def sample_size(unet: UNet2DModel) -> tuple[int, int]:
    """Height and width in pixels; 32 × 32 where the config leaves them open."""
    size = unet.config["sample_size"] or 32
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def draw_labels(unet: UNet2DModel, count: int, generator: torch.Generator) -> Tensor | None:
    """Random class labels for class-conditional networks, None for others."""
    if unet.config["num_class_embeds"] is not None:
        return torch.randint(unet.config["num_class_embeds"], (count,), generator=generator).to(unet.device)
    if unet.config["class_embed_type"] == "timestep":
        return torch.randint(1000, (count,), generator=generator).to(unet.device)
    if unet.config["class_embed_type"] == "identity":
        width = unet.time_embedding.linear_2.out_features
        return torch.randn(count, width, generator=generator).to(unet.device)
    return None


def spread_over_segments(segments: tuple[int, ...], last: int, count: int, generator: torch.Generator) -> Tensor:
    """Diffusion timesteps [count], equally many in each noise segment, uniform within it; ``last`` is exclusive."""
    bounds = [start for start in segments if start < last] + [last]
    shares = torch.arange(count) % (len(bounds) - 1)
    low, high = torch.tensor(bounds[:-1])[shares], torch.tensor(bounds[1:])[shares]
    return low + (torch.rand(count, generator=generator) * (high - low)).long()
