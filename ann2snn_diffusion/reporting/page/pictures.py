"""Images as text that a page holds itself: PNG in data URIs."""

from __future__ import annotations

import base64
import io

import torch
from PIL import Image
from torch import Tensor

from ann2snn_diffusion.diffusion.sampling import to_pixels


def data_uri(image: Tensor, most: int) -> str:
    """A PNG of an image [C, H, W] in [0, 1], shrunk to ``most`` pixels a side.

    Images of other than 1 or 3 channels are shown channel by channel, side by side in greys.
    """
    pixels = to_pixels(image)
    if len(pixels) == 3:
        shown = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    else:
        shown = Image.fromarray(torch.cat(list(pixels), 1).numpy())
    shown.thumbnail((most * shown.width // image.shape[-1], most))
    file = io.BytesIO()
    shown.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
