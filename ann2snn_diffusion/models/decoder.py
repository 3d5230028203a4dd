"""The decoder of a latent model: what turns the latents that a U-Net draws into images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import ModelMixin
from torch import Tensor, nn

from ann2snn_diffusion.common.errors import first_line
from ann2snn_diffusion.models.folders import read_json
from ann2snn_diffusion.spiking.unet import SourceError

NAMES = ("vqvae", "vae")
"""Folders of a pipeline that hold one."""


@dataclass(frozen=True)
class Decoder:
    """A VQModel, an autoencoder or the like, of the pipeline's component ``name``."""

    name: str
    network: Any

    def __call__(self, latents: Tensor) -> Tensor:
        """Images [N, C, H, W] in [−1, 1] of latents; the network moves to their device."""
        config = self.network.config
        network: Any = nn.Module.to(self.network, latents.device)
        unscaled = latents / (config.get("scaling_factor") or 1) + (config.get("shift_factor") or 0)
        return network.decode(unscaled).sample.contiguous()

    def image_shape(self, latent: tuple[int, int]) -> tuple[int, tuple[int, int]]:
        """Channels, height and width of the images of latents of height and width ``latent``."""
        config = self.network.config
        times = 2 ** (len(config["block_out_channels"]) - 1)
        return config["out_channels"], (times * latent[0], times * latent[1])


def load_decoder(folder: Path) -> Decoder | None:
    """The decoder of the pipeline in ``folder``, in float32 on the CPU; None where it has none.

    Raises:
        SourceError: it cannot be loaded.
    """
    name = next((name for name in NAMES if (folder / name / "config.json").exists()), None)
    if name is None:
        return None
    place = folder / name
    kind: Any = getattr(diffusers, str(read_json(place / "config.json").get("_class_name")), None)
    if not isinstance(kind, type) or not issubclass(kind, ModelMixin):
        raise SourceError(f"{place / 'config.json'}: _class_name is no model that diffusers has here.")
    usual = any(place.glob("diffusion_pytorch_model.[bs]*"))
    try:
        network: Any = kind.from_pretrained(place, variant=None if usual else "fp16")
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise SourceError(f"{place}: the decoder could not be loaded: {first_line(error)}") from error
    return Decoder(name, nn.Module.to(network.eval().requires_grad_(False), torch.float32))
