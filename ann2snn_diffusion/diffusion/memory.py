"""Whether images fit into this machine's memory, said before anything is drawn."""

from __future__ import annotations

from math import prod

import psutil
from diffusers import UNet2DModel

from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.diffusion.conditioning import sample_size

GIB = 2**30


def require_memory(field: str, count: int, unet: UNet2DModel) -> None:
    """Refuse ``count`` inputs of the network, float32, that this machine cannot hold at once.

    Raises:
        SpecError: names the field, how much memory it asks for, and how much there is.
    """
    needed, there = 4 * count * unet.config["in_channels"] * prod(sample_size(unet)), psutil.virtual_memory().total
    expected = f"fewer: these are {needed / GIB:,.0f} GiB of images, and this machine has {there / GIB:,.0f} GiB"
    require(needed <= there, field, count, expected)
