"""Many images, drawn in shards by one or several processes; finished shards are found again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from diffusers import UNet2DModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ann2snn_diffusion.common.atomic_output import OutputError, new_file
from ann2snn_diffusion.common.digest import digest
from ann2snn_diffusion.diffusion.sampling import sample, scheduler_settings, to_pixels


def shard_files(
    folder: Path, unet: UNet2DModel, scheduler: Any, count: int, steps: int, seed: int, batch_size: int
) -> dict[int, Path]:
    """Where shards of ``batch_size`` images belong, by the index of their first image.

    Their folder is named by a hash of all that the images depend on, the batch size included: on most machines the
    last bits of a prediction depend on it, and shards of one set must not mix.
    """
    key = digest(
        unet, config=scheduler_settings(scheduler), kind=type(scheduler).__name__, steps=steps, seed=seed,
        batch_size=batch_size, spiking=unet.config.get("spiking"),
    )[:16]  # fmt: skip
    return {
        first: folder / key / f"{first:06d}-{min(count, first + batch_size):06d}.safetensors"
        for first in range(0, count, batch_size)
    }


def draw_shards(
    files: dict[int, Path],
    unet: UNet2DModel,
    scheduler: Any,
    count: int,
    steps: int,
    seed: int,
    batch_size: int,
    process: PartialState,
    track: Callable[[int], Callable[[], None]],
) -> None:
    """Draw the shards of `shard_files` that are missing, every process its share, and wait for all.

    Args:
        track: told the number of denoising steps ahead; returns what is called after each.

    Raises:
        SamplingError: an image is not finite.
        OutputError: the folder cannot be written.
    """
    missing = [first for first, file in files.items() if not file.exists()]
    process.wait_for_everyone()  # no process may find another's new shard and count its share anew
    mine = missing[process.process_index :: process.num_processes]
    advance = track(steps * len(mine)) if mine else lambda: None
    for first in mine:
        size = min(batch_size, count - first)
        images = sample(unet, scheduler, size, steps, seed + first, size, advance)
        try:
            files[first].parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{files[first].parent} cannot be created: {error.strerror or error}.") from error
        with new_file(files[first]) as partial:
            save_file({"images": to_pixels(images)}, partial)
    process.wait_for_everyone()


def read_shards(files: dict[int, Path]) -> Tensor:
    """All images, uint8 [N, C, H, W].

    Raises:
        OutputError: a shard is damaged.
    """
    images = []
    for file in files.values():
        try:
            images.append(load_file(file)["images"])
        except (OSError, SafetensorError, KeyError) as error:
            raise OutputError(f"{file} is damaged; delete it and run the same command again.") from error
    return torch.cat(images)
