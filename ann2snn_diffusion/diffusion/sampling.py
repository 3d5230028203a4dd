"""Draw images; every image is seeded on its own, so that batch size does not change which images come out."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.common.progress import Advance, idle
from ann2snn_diffusion.common.random_streams import image_stream
from ann2snn_diffusion.diffusion.conditioning import (
    beside,
    draw_labels,
    draw_noise,
    in_turn,
    require_condition,
)
from ann2snn_diffusion.diffusion.samplers import denoise, samplers


class SamplingError(A2SError):
    """Images that cannot be drawn."""


class NotFiniteError(SamplingError):
    """An image holds values that are not finite."""


def choose_scheduler(scheduler: Any, name: str | None) -> Any:
    """``scheduler`` itself, or one that shares its noise levels: ``ddim``, ``unipcmultistep`` …

    Where there is no β schedule, ``ddim`` stands for what such a model has for few steps, see `samplers`.

    Raises:
        SamplingError: unknown name.
    """
    if name is None:
        return scheduler
    kinds, asked = samplers(scheduler), name.lower().removesuffix("scheduler")
    kind = next(iter(kinds.values())) if asked == "ddim" else kinds.get(asked)
    if kind is None:
        raise SamplingError(f"scheduler = {name!r}: expected one of {', '.join(sorted(kinds))}.")
    # One that knows no clipping does not clip; DDIM would by default.
    clips = "clip_sample" in scheduler.config or "clip_sample" not in inspect.signature(kind).parameters
    return kind.from_config(scheduler.config, **({} if clips else {"clip_sample": False}))


def scheduler_settings(scheduler: Any) -> dict[str, Any]:
    """A scheduler's configuration; without what diffusers writes about the scheduler's origin."""
    return {key: value for key, value in scheduler.config.items() if not key.startswith("_")}


def network_settings(unet: UNet2DModel) -> dict[str, Any]:
    """A network's configuration; without where it came from."""
    return {key: value for key, value in unet.config.items() if not key.startswith("_") and key != "converted_from"}


class Decode(Protocol):
    """Makes images in [−1, 1] of the latents that a network draws."""

    @property
    def network(self) -> nn.Module:
        """What decodes."""
        ...

    def __call__(self, latents: Tensor) -> Tensor:
        """Images [N, C, H, W] of latents."""
        ...


@dataclass(frozen=True)
class Drawing:
    """Which images are drawn, and how."""

    count: int
    """Images."""
    steps: int
    """Denoising steps."""
    seed: int = 0
    """Image i is seeded with seed + i."""
    batch_size: int = 64
    """Images at a time."""
    class_labels: tuple[int, ...] = ()
    """Used in turn; none: every image draws its own."""
    decode: Decode | None = None
    """None: the network draws images."""
    condition: Tensor | None = None
    """What lies beside the images, [M, C', H, W], used in turn; None: the network takes none."""
    class_shares: tuple[float, ...] = ()
    """How often images without ``class_labels`` are of each of the first classes; none: of all equally often."""

    def part(self, rows: slice) -> Drawing:
        """The same for some of the images, drawn at once."""
        size = rows.stop - rows.start
        turn = rows.start % max(1, len(self.class_labels))
        labels = self.class_labels[turn:] + self.class_labels[:turn]
        condition = in_turn(self.condition, size, rows.start)
        return replace(
            self, count=size, seed=self.seed + rows.start, batch_size=size, class_labels=labels, condition=condition
        )

    def batches(self) -> list[slice]:
        """Rows of images that are drawn at a time."""
        return [
            slice(first, min(self.count, first + self.batch_size)) for first in range(0, self.count, self.batch_size)
        ]


@torch.no_grad()
def sample(unet: UNet2DModel, scheduler: Any, drawing: Drawing, advance: Advance = idle) -> Tensor:
    """Images [N, C, H, W] in [0, 1].

    Image i depends on ``seed`` + i alone. ``advance`` is called after every denoising step of every batch.

    Raises:
        SamplingError: more steps than the scheduler has; class labels that the network has not.
        ConditionError: see `require_condition`.
        NotFiniteError: an image is not finite.
    """
    require_condition(unet, drawing.condition)
    most = scheduler.config.num_train_timesteps
    if drawing.steps > most:
        raise SamplingError(
            f"steps = {drawing.steps}: expected at most {most}, the diffusion timesteps of the scheduler."
        )
    _refuse_labels(unet, drawing.class_labels)
    images = []
    for rows in drawing.batches():
        images.append(_sample_batch(unet, scheduler, drawing.part(rows), advance))
        if not torch.isfinite(images[-1]).all():
            raise NotFiniteError(f"Images {rows.start} to {rows.stop - 1} hold values that are not finite.")
    return (torch.cat(images) / 2 + 0.5).clamp(0, 1).cpu()


def to_pixels(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8 of the same shape: what shards keep, and what features are taken of."""
    return (images * 255).round().to(torch.uint8)


def _refuse_labels(unet: UNet2DModel, labels: tuple[int, ...]) -> None:
    known = unet.config["num_class_embeds"] or 0
    if any(not 0 <= label < known for label in labels):
        expected = f"labels from 0 to {known - 1}" if known else "none: the network knows no classes"
        raise SamplingError(f"class_labels = {', '.join(map(str, labels))}: expected {expected}.")


def _sample_batch(unet: UNet2DModel, scheduler: Any, drawing: Drawing, advance: Advance) -> Tensor:
    """All images of a drawing at once, in [−1, 1]."""
    generators = [image_stream(drawing.seed, index) for index in range(drawing.count)]
    noise = torch.cat([draw_noise(unet, 1, generator, drawing.condition) for generator in generators])
    if drawing.class_labels:
        turns = torch.arange(drawing.count) % len(drawing.class_labels)
        label = torch.tensor(drawing.class_labels)[turns].to(unet.device)
    else:
        labels = [draw_labels(unet, 1, generator, drawing.class_shares) for generator in generators]
        label = None if labels[0] is None else torch.cat([one for one in labels if one is not None])

    condition = None if drawing.condition is None else in_turn(drawing.condition.to(noise), drawing.count)

    def network(states: Tensor, timestep: Tensor) -> Tensor:
        return unet(beside(states, condition), timestep, label).sample

    # Multi-step schedulers remember earlier predictions: a fresh one for every batch.
    sampler = type(scheduler).from_config(scheduler.config)
    state = denoise(sampler, network, noise, drawing.steps, generators, advance)
    return state if drawing.decode is None else drawing.decode(state)
