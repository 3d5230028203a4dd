"""Grids of images as PNG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid


def save_grids(path: Path, grids: Mapping[str, Tensor], columns: int = 8) -> None:
    """Titled grids, one over the other, each of images [N, C, H, W] in [0, 1]; rows of ``columns`` images.

    Images of other than 1 or 3 channels are shown channel by channel, a row of greys for each image.
    """
    pictures = {title: _grid(images, columns).permute(1, 2, 0).numpy() for title, images in grids.items()}
    width = 8.0
    heights = [width * len(picture) / picture.shape[1] for picture in pictures.values()]
    figure = Figure(figsize=(width, sum(heights) + 0.35 * len(pictures)), layout="constrained")
    panels = figure.subplots(len(pictures), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (title, picture) in zip(panels, pictures.items(), strict=True):
        panel.imshow(picture, interpolation="nearest")
        panel.set_title(title, fontsize=10, loc="left")
        panel.axis("off")
    figure.savefig(path, dpi=150)


def _grid(images: Tensor, columns: int) -> Tensor:
    if images.shape[1] in (1, 3):
        return make_grid(images, nrow=columns, pad_value=1)
    return make_grid(images.flatten(0, 1).unsqueeze(1), nrow=images.shape[1], pad_value=1)
