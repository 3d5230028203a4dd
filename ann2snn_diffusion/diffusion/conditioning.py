"""What a U-Net takes beside noisy images: their size, and class labels."""

from __future__ import annotations

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.errors import A2SError


class ImageSizeError(A2SError):
    """A network that does not say how large its images are."""


def sample_size(unet: UNet2DModel) -> tuple[int, int]:
    """Height and width in pixels.

    Raises:
        ImageSizeError: the config leaves them open.
    """
    size = unet.config["sample_size"]
    if size is None:
        raise ImageSizeError("The U-Net's config has sample_size = None; set it to the size of its images, such as 32.")
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


def draw_noise(unet: UNet2DModel, count: int, generator: torch.Generator) -> Tensor:
    """White noise shaped as ``count`` inputs of the network, [count, C, H, W]."""
    return torch.randn(count, unet.config["in_channels"], *sample_size(unet), generator=generator).to(unet.device)
