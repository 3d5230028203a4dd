"""Real images to compare with: data sets through torchvision, or any folder of images."""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import datasets
from torchvision.transforms import v2

from ann2snn_diffusion.common.errors import A2SError, first_line
from ann2snn_diffusion.data.image_files import (
    covering,
    find_images,
    image_size,
    open_image,
    peculiarities,
    refuse_damaged,
)

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
HASHED_IMAGES = 1000


class DataError(A2SError):
    """Real images that cannot be had, or that do not fit the model."""


@dataclass(frozen=True)
class PublishedSet:
    """A data set that torchvision knows.

    Attributes:
        mode: ``L`` or ``RGB``.
        load: root folder and split → a data set whose items are pairs of a PIL image and something else.
        crop: side of a centre crop before resizing, where the literature takes one.
    """

    mode: str
    load: Callable[[Path, Split], Any]
    crop: int | None = None


class IdxImages(Sequence[tuple[Image.Image, None]]):
    """Images of a gzipped idx file, as Debian's package ``dataset-fashion-mnist`` ships them."""

    def __init__(self, file: Path) -> None:
        self.pixels = read_idx(file)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: Any) -> Any:
        return Image.fromarray(self.pixels[index].numpy()), None


def read_idx(file: Path) -> Tensor:
    """All images of a gzipped idx file of 28 × 28 images, uint8 [N, 28, 28].

    Raises:
        DataError: missing, or not such a file.
    """
    try:
        raw = gzip.decompress(file.read_bytes())
        return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28).copy())
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{file}: not readable as gzipped idx images: {first_line(error)}") from error


def _fashion_mnist(root: Path, split: Split) -> Any:
    debian = root / f"{'train' if split == 'train' else 't10k'}-images-idx3-ubyte.gz"
    return IdxImages(debian) if debian.exists() else datasets.FashionMNIST(root, split == "train", download=True)


PUBLISHED: dict[str, PublishedSet] = {
    "cifar10": PublishedSet("RGB", lambda root, split: datasets.CIFAR10(root, split == "train", download=True)),
    "celeba": PublishedSet("RGB", lambda root, split: datasets.CelebA(root, split, download=True), crop=140),
    "mnist": PublishedSet("L", lambda root, split: datasets.MNIST(root, split == "train", download=True)),
    "fashion-mnist": PublishedSet("L", _fashion_mnist),
    "lsun-bedroom": PublishedSet("RGB", lambda root, split: _lsun(root, "bedroom", split)),
    "lsun-church": PublishedSet("RGB", lambda root, split: _lsun(root, "church_outdoor", split)),
}


def _lsun(root: Path, scene: str, split: Split) -> Any:
    # LSUN's test images are not published by scene: its validation set stands in.
    part = f"{scene}_{'train' if split == 'train' else 'val'}"
    # torchvision leaves a pickled list in the working directory, and runs whatever lies there under its name.
    listing = Path("_cache_" + "".join(re.findall("[A-Za-z]", f"{root}/{part}_lmdb")))
    listing.unlink(missing_ok=True)
    images = datasets.LSUN(str(root), [part])
    listing.unlink(missing_ok=True)
    return images


@dataclass(frozen=True)
class RealImages(Dataset[Tensor]):
    """Images of one size, uint8 [3, H, W]; grey ones three times the same channel.

    Attributes:
        name: data set and split, or the folder's bare name.
        preparation: what was done to the images, in words.
        digest: hash of the images' content and their preparation.
        class_counts: how many there are of each class, by label; none: they carry no labels.
    """

    name: str
    preparation: str
    digest: str
    count: int
    read: Callable[[int], Tensor]
    class_counts: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        return self.read(index)


def published_images(name: str, root: Path, split: Split, channels: int, size: tuple[int, int]) -> RealImages:
    """A split of a data set at the model's size; downloaded by torchvision where it can.

    28 × 28 images are padded to 32 × 32 with black; others are centre cropped and scaled down.

    Raises:
        DataError: unknown name or split, not to be had, or of another size or channel count than the model.
    """
    if name not in PUBLISHED:
        raise DataError(f"data = {name!r}: expected a folder of images or one of {', '.join(PUBLISHED)}.")
    if split not in SPLITS:
        raise DataError(f"split = {split!r}: expected one of {', '.join(SPLITS)}.")
    published, fresh = PUBLISHED[name], not root.exists()
    if len(published.mode) != channels:
        raise DataError(f"{name}: has {published.mode} images, but the model draws {channels} channels.")
    try:
        pairs = published.load(root, split)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        if fresh:
            shutil.rmtree(root, ignore_errors=True)  # what a download that failed left behind
        reason = " ".join(str(error).split())
        raise DataError(f"{name}: not in {root} and not to be downloaded: {reason}") from error
    prepare, words = preparation(_height_and_width(pairs[0][0]), size, published.crop)

    def read(index: int) -> Tensor:
        return prepare(pairs[index][0].convert("RGB"))

    digest = hashlib.sha256(f"{len(pairs)} {words}".encode())
    for index in np.linspace(0, len(pairs) - 1, min(len(pairs), HASHED_IMAGES), dtype=int).tolist():
        digest.update(read(index).numpy().tobytes())
    return RealImages(f"{name} {split}", words, digest.hexdigest(), len(pairs), read, _class_counts(pairs))


def _class_counts(pairs: Any) -> tuple[int, ...]:
    """How many of each class torchvision's data set has; none where it has no classes."""
    if not hasattr(pairs, "targets") or not hasattr(pairs, "classes"):
        return ()
    return tuple(torch.as_tensor(pairs.targets).bincount(minlength=len(pairs.classes)).tolist())


def _height_and_width(image: Image.Image) -> tuple[int, int]:
    return image.height, image.width


def folder_images(folder: Path, channels: int, size: tuple[int, int]) -> RealImages:
    """All images of a folder at the model's size; where all lie in folders in it, each of these is a class.

    Raises:
        DataError: images smaller than the model's, or a model that does not draw images.
        ImagesError: no image, or some that cannot be read, each named.
    """
    if channels not in (1, 3):
        raise DataError(f"{folder}: the model draws {channels} channels; images have 1 or 3.")
    files = find_images(folder)
    refuse_damaged(folder, files)
    sizes = {file: image_size(file) for file in files}
    small = [file.name for file, found in sizes.items() if found[0] < size[0] or found[1] < size[1]]
    if small:
        raise DataError(f"{folder}: {len(small)} images are smaller than {size[0]} × {size[1]}: {small[0]} …")
    distinct = set(sizes.values())
    _, words = preparation(distinct.pop() if len(distinct) == 1 else max(distinct), size)
    digest = hashlib.sha256(f"{channels} {words}".encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())

    def read(index: int) -> Tensor:
        prepare, _ = preparation(sizes[files[index]], size)
        return prepare(open_image(files[index], "L" if channels == 1 else "RGB").convert("RGB"))

    words += f"; {odd}" if (odd := peculiarities(files)) else ""
    counts = folder_classes(folder, files)
    return RealImages(folder.resolve().name, words, digest.hexdigest(), len(files), read, counts)


def folder_classes(folder: Path, files: Sequence[Path]) -> tuple[int, ...]:
    """How many files each folder in ``folder`` has, in the order of names, by which torchvision's ImageFolder labels.

    None where a file lies in no such folder.
    """
    places = [file.relative_to(folder).parts for file in files]
    if any(len(parts) == 1 for parts in places):
        return ()
    counts = Counter(parts[0] for parts in places)
    return tuple(counts[name] for name in sorted(counts))


def training_images(data: str, root: Path, channels: int, size: tuple[int, int]) -> RealImages:
    """A folder of images, or the training split of a published data set.

    Raises:
        DataError, ImagesError: see `published_images` and `folder_images`.
    """
    if Path(data).is_dir():
        return folder_images(Path(data), channels, size)
    return published_images(data, root, "train", channels, size)


def preparation(
    found: tuple[int, int], wanted: tuple[int, int], crop: int | None = None
) -> tuple[Callable[[Image.Image], Tensor], str]:
    """How images of one size (height, width) become the model's, and the same in words.

    Raises:
        DataError: they would have to be enlarged.
    """
    if found == (28, 28) and wanted == (32, 32):
        return v2.Compose([v2.Pad(2), v2.PILToTensor()]), "28 × 28 padded with black to 32 × 32"
    if found == wanted and crop is None:
        return v2.PILToTensor(), f"{wanted[0]} × {wanted[1]} as they are"
    if found[0] < wanted[0] or found[1] < wanted[1]:
        raise DataError(f"Images of {found[0]} × {found[1]} are smaller than the model's {wanted[0]} × {wanted[1]}.")
    cropped = [v2.CenterCrop(crop)] if crop else []
    steps = [*cropped, covering((crop, crop) if crop else found, wanted), v2.PILToTensor()]
    first = f"centre {crop} × {crop}, " if crop else ""
    how = f"shorter side scaled to {wanted[0]}" if wanted[0] == wanted[1] else "scaled to cover"
    return v2.Compose(steps), f"{first}{how}, centre {wanted[0]} × {wanted[1]}"
