"""Batches of real images to learn on: each a pure function of seed, process and step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.data.datasets import RealImages


def image_batches(
    images: RealImages, batch_size: int, seed: int, process: int, steps: range, workers: int
) -> Iterator[Tensor]:
    """A batch of images, uint8 [B, 3, H, W], for each of ``steps``."""
    rows = [
        torch.randint(len(images), (batch_size,), generator=stream("training images", seed, process, step)).tolist()
        for step in steps
    ]
    return iter(DataLoader(images, batch_sampler=rows, num_workers=workers))
