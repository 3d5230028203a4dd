"""How much memory images take: said before anything is drawn, and how many pass a network at once."""

from __future__ import annotations

from math import prod

import psutil
from diffusers import UNet2DModel

from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.diffusion.conditioning import sample_size

GIB = 2**30
AT_ONCE = 850 << 20
"""Bytes of activations that images under way may hold together."""
MOST_AT_ONCE = 32
"""Images: more of them pass no faster."""
LARGE = 5 << 20
"""Bytes of activations of an image, beyond which fewer are taken unasked: they cost as much, and tell it in more
pixels."""
UNDER_WAY = 14
"""Activations as wide as the first block that a layer under way holds: two or three of them side by side as its input,
those normalised, their spikes, its output."""


def bytes_per_image(unet: UNet2DModel) -> int:
    """About what the network holds of an image that passes it: all skip connections, and the layer under way."""
    channels, layers = unet.config["block_out_channels"], unet.config["layers_per_block"]
    skipped = sum((layers + 1) * width / 4**level for level, width in enumerate(channels))
    return round(4 * prod(sample_size(unet)) * (UNDER_WAY * channels[0] + skipped))


def images_at_once(unet: UNet2DModel, held: float = 1) -> int:
    """How many images pass the network together, each of which holds ``held`` times what a forward pass does."""
    return max(1, min(MOST_AT_ONCE, int(AT_ONCE / (held * bytes_per_image(unet)))))


def fewer_if_large(unet: UNet2DModel, most: int, least: int) -> int:
    """Images of a network that are taken unasked: ``most``, in proportion fewer where they are large, to ``least``."""
    return max(least, min(most, most * LARGE // bytes_per_image(unet)))


def require_memory(field: str, count: int, unet: UNet2DModel) -> None:
    """Refuse ``count`` inputs of the network, float32, that this machine cannot hold at once.

    Raises:
        SpecError: names the field, how much memory it asks for, and how much there is.
    """
    _require(field, count, 4 * unet.config["in_channels"] * prod(sample_size(unet)), "images")


def require_memory_of_passes(field: str, count: int, unet: UNet2DModel) -> None:
    """Refuse ``count`` images that are to pass the network side by side, as calibration has them.

    Raises:
        SpecError: as `require_memory`.
    """
    require_memory(field, count, unet)
    _require(field, count, bytes_per_image(unet), "activations")


def _require(field: str, count: int, size: int, what: str) -> None:
    needed, there = count * size, psutil.virtual_memory().total
    expected = f"fewer: these are {needed / GIB:,.0f} GiB of {what}, and this machine has {there / GIB:,.0f} GiB"
    require(needed <= there, field, count, expected)
