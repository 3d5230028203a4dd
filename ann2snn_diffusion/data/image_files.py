"""Image files as they are: of any depth, size, palette, orientation and transparency."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.ExifTags import Base
from torch import Tensor
from torchvision.transforms import v2

from ann2snn_diffusion.common.errors import A2SError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
FAULTS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)
"""What Pillow raises for files that it cannot decode, or that are enormous."""
WHITE = (255, 255, 255, 255)


class ImagesError(A2SError):
    """Images that cannot be used."""


def read_images(
    folder: Path, count: int, channels: int, size: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, str]:
    """At most ``count`` random images, [N, C, H, W] in [−1, 1], scaled to cover the model's and cropped at the centre.

    Returns:
        The images, and their `peculiarities`.

    Raises:
        ImagesError: no folder, no image in it, or one that cannot be read.
    """
    files = find_images(folder)
    if channels not in (1, 3):
        raise ImagesError(f"{folder}: the model has {channels} input channels; images have 1 or 3.")
    chosen = [files[index] for index in torch.randperm(len(files), generator=generator)[:count].tolist()]
    scale = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
    found = []
    for path in chosen:
        image = open_image(path, "L" if channels == 1 else "RGB")
        found.append(scale(covering((image.height, image.width), size)(image)))
    return torch.stack(found) * 2 - 1, peculiarities(chosen)


def covering(found: tuple[int, int], wanted: tuple[int, int]) -> v2.Compose:
    """Scale an image of height and width ``found`` until it covers ``wanted``, and crop its centre."""
    (height, width), (high, wide) = found, wanted
    if high * width >= wide * height:
        scaled = (high, max(wide, high * width // height))
    else:
        scaled = (max(high, wide * height // width), wide)
    return v2.Compose([v2.Resize(scaled), v2.CenterCrop(wanted)])


def find_images(folder: Path) -> list[Path]:
    """All image files of a folder and the folders in it, sorted.

    Raises:
        ImagesError: no folder, no image in it, or a name of one that is no file: a pipe, a device, a dangling link.
    """
    if not folder.is_dir():
        raise ImagesError(f"{folder}: no such folder of images.")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir())
    if not files:
        raise ImagesError(f"{folder}: no images; expected files that end in {', '.join(sorted(SUFFIXES))}.")
    if other := [str(path.relative_to(folder)) for path in files if not path.is_file()]:
        raise ImagesError(f"{folder}: {', '.join(other)}: expected a regular file.")
    return files


def refuse_damaged(folder: Path, files: list[Path]) -> None:
    """Check all image files of a folder at once, to their last byte.

    Raises:
        ImagesError: some are not readable, or enormous; each named.
    """
    if damaged := [str(path.relative_to(folder)) for path in files if not _whole(path)]:
        raise ImagesError(f"{folder}: {len(damaged)} not readable as images: {', '.join(damaged)}.")


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file as `open_image` gives it, from its header."""
    with _opened(path) as image:
        turned = image.getexif().get(Base.Orientation, 1) >= 5  # by a quarter
        return (image.width, image.height) if turned else (image.height, image.width)


def open_image(path: Path, mode: str) -> Image.Image:
    """An image file as ``L`` or ``RGB``, upright: 16 bits become 8, transparency white, an animation its first frame.

    Raises:
        ImagesError: it cannot be decoded, or it is enormous.
    """
    with _opened(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
            upright = Image.fromarray(
                ((np.asarray(upright).astype(np.int64) + 128) // 257).clip(0, 255).astype("uint8")
            )
        if upright.has_transparency_data:
            colours = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", colours.size, WHITE), colours)
        return upright.convert(mode)


def peculiarities(files: Iterable[Path]) -> str:
    """How many images were not simply taken over, in words; empty where all were."""
    counts = {"transparent, over white": 0, "animated, the first frame": 0}
    for path in files:
        with _opened(path) as image:
            counts["transparent, over white"] += image.has_transparency_data
            counts["animated, the first frame"] += getattr(image, "n_frames", 1) > 1
    return "; ".join(f"{count} {words}" for words, count in counts.items() if count)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                yield image
    except FAULTS as error:
        enormous = isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning)
        raise ImagesError(f"{path}: {'enormous' if enormous else 'not readable as an image'}.") from error


def _whole(path: Path) -> bool:
    try:
        with _opened(path) as image:
            if image.format == "PNG":
                image.verify()  # its checksums
            else:
                image.draft("RGB", (1, 1))  # JPEG: a coarse picture of all its bytes
                image.load()
    except ImagesError:
        return False
    return True
