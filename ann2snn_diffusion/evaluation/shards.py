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

from ann2snn_diffusion.common.atomic_output import OutputError, make_folder, new_file
from ann2snn_diffusion.common.digest import digest, digest_of
from ann2snn_diffusion.common.progress import Advance, idle
from ann2snn_diffusion.diffusion.sampling import Drawing, network_settings, sample, scheduler_settings, to_pixels


def shard_files(folder: Path, unet: UNet2DModel, scheduler: Any, drawing: Drawing) -> dict[int, Path]:
    """Where shards of ``batch_size`` images belong, by the index of their first image.

    Their folder is named by a hash of all that the images depend on, the batch size included: on most machines the
    last bits of a prediction depend on it, and shards of one set must not mix.
    """
    more: dict[str, Any] = {"class_labels": drawing.class_labels} if drawing.class_labels else {}
    if drawing.class_shares:
        more["class_shares"] = drawing.class_shares
    if drawing.condition is not None:
        more["condition"] = digest_of(drawing.condition)
    if drawing.decode is not None:
        more["decoder"] = digest(drawing.decode.network)
    key = digest(
        unet, config=scheduler_settings(scheduler), kind=type(scheduler).__name__, steps=drawing.steps,
        seed=drawing.seed, batch_size=drawing.batch_size, settings_of_network=network_settings(unet), **more,
    )[:16]  # fmt: skip
    return {rows.start: folder / key / f"{rows.start:06d}-{rows.stop:06d}.safetensors" for rows in drawing.batches()}


def draw_shards(
    files: dict[int, Path],
    unet: UNet2DModel,
    scheduler: Any,
    drawing: Drawing,
    process: PartialState,
    announce: Callable[[int], Advance],
) -> None:
    """Draw the shards of `shard_files` that are missing, every process its share, and wait for all.

    Args:
        announce: told the number of denoising steps ahead; returns what is called after each.

    Raises:
        SamplingError: an image is not finite.
        OutputError: the folder cannot be written.
    """
    missing = [rows for rows in drawing.batches() if not files[rows.start].exists()]
    process.wait_for_everyone()  # no process may find another's new shard and count its share anew
    mine = missing[process.process_index :: process.num_processes]
    advance = announce(drawing.steps * len(mine)) if mine else idle
    for rows in mine:
        file = files[rows.start]
        images = sample(unet, scheduler, drawing.part(rows), advance)
        make_folder(file.parent)
        with new_file(file) as partial:
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
            if images[-1].dtype != torch.uint8 or images[-1].shape[1:] != images[0].shape[1:]:
                raise ValueError("images of another shape or type")
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise OutputError(f"{file} is damaged; delete it and run the same command again.") from error
    return torch.cat(images)
