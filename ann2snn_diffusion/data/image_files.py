"""Calibration images from a folder."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms import v2

from ann2snn_diffusion.common.errors import A2SError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})


class ImagesError(A2SError):
    """Calibration images that cannot be used."""


def read_images(folder: Path, count: int, channels: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """At most ``count`` random images, [N, C, H, W] in [−1, 1]: shorter side resized, centre cropped.

    Raises:
        ImagesError: no folder, no image in it, or one that cannot be read.
    """
    files = find_images(folder)
    if channels not in (1, 3):
        raise ImagesError(f"{folder}: the model has {channels} input channels; images have 1 or 3.")
    chosen = [files[index] for index in torch.randperm(len(files), generator=generator)[:count].tolist()]
    transform = v2.Compose(
        [v2.Resize(max(size)), v2.CenterCrop(size), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    )
    return torch.stack([transform(open_image(path, "L" if channels == 1 else "RGB")) for path in chosen]) * 2 - 1


def find_images(folder: Path) -> list[Path]:
    """All image files of a folder and the folders in it, sorted.

    Raises:
        ImagesError: no folder, or no image in it.
    """
    if not folder.is_dir():
        raise ImagesError(f"{folder}: no such folder of images.")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ImagesError(f"{folder}: no images; expected files that end in {', '.join(sorted(SUFFIXES))}.")
    return files


def refuse_damaged(folder: Path, files: list[Path]) -> None:
    """Check all image files of a folder at once.

    Raises:
        ImagesError: some are not readable, each named.
    """
    if damaged := [str(path.relative_to(folder)) for path in files if not _verified(path)]:
        raise ImagesError(f"{folder}: {len(damaged)} not readable as images: {', '.join(damaged)}.")


def _verified(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.verify()
    except (UnidentifiedImageError, OSError, SyntaxError):
        return False
    return True


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file, from its header."""
    with Image.open(path) as image:
        return image.height, image.width


def open_image(path: Path, mode: str) -> Image.Image:
    """An image file as ``L`` or ``RGB``.

    Raises:
        ImagesError: it cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            return image.convert(mode)
    except (UnidentifiedImageError, OSError) as error:
        raise ImagesError(f"{path}: not readable as an image.") from error
