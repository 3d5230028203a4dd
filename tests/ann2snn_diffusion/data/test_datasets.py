import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ann2snn_diffusion.data import datasets
from ann2snn_diffusion.data.datasets import DataError, folder_images, published_images, read_idx
from ann2snn_diffusion.data.image_files import ImagesError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)


@pytest.fixture
def debian(tmp_path: Path) -> Path:
    for split, images in (("train", PIXELS[:4]), ("t10k", PIXELS[4:])):
        (tmp_path / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + images.tobytes()))
    return tmp_path


@pytest.fixture
def torchvision_mnist(tmp_path: Path) -> Path:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, images in (("train", PIXELS[:4]), ("t10k", PIXELS[4:])):
        sizes = [len(images), 28, 28]
        header = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4) for size in sizes)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(
            bytes([0, 0, 8, 1]) + len(images).to_bytes(4) + bytes(len(images))
        )
    return tmp_path


def test_an_idx_file_is_read_as_it_is(debian: Path) -> None:
    assert np.array_equal(read_idx(debian / "train-images-idx3-ubyte.gz").numpy(), PIXELS[:4])


def test_a_damaged_idx_file_is_refused_by_name(tmp_path: Path) -> None:
    for content in (b"no gzip", gzip.compress(bytes(20)), b""):
        (tmp_path / "images.gz").write_bytes(content)
        with pytest.raises(DataError, match=r"images\.gz: not readable"):
            read_idx(tmp_path / "images.gz")


@pytest.mark.parametrize(("split", "rows"), [("train", slice(0, 4)), ("test", slice(4, 6))])
def test_debian_s_fashion_mnist_is_padded_with_black(debian: Path, split: datasets.Split, rows: slice) -> None:
    images = published_images("fashion-mnist", debian, split, 1, (32, 32))
    assert len(images) == rows.stop - rows.start
    assert images[1].shape == (3, 32, 32)
    assert np.array_equal(images[1][0, 2:-2, 2:-2].numpy(), PIXELS[rows][1])
    assert images[1][:, :2].sum() == 0
    assert "padded" in images.preparation


def test_data_sets_are_read_from_torchvision_s_folders(torchvision_mnist: Path) -> None:
    images = published_images("mnist", torchvision_mnist, "train", 1, (28, 28))
    assert np.array_equal(images[2][0].numpy(), PIXELS[2])
    assert images.class_counts == (4, *[0] * 9)


@pytest.mark.parametrize(
    ("name", "channels", "size", "message"),
    [
        ("imagenet", 3, (32, 32), "expected a folder of images or one of cifar10"),
        ("mnist", 3, (28, 28), "has L images, but the model draws 3 channels"),
        ("mnist", 1, (64, 64), "28 × 28 are smaller than the model's 64 × 64"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(
    torchvision_mnist: Path, name: str, channels: int, size: tuple[int, int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        published_images(name, torchvision_mnist, "train", channels, size)


def test_a_data_set_that_cannot_be_downloaded_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(root: Path, *_: object, **__: object) -> None:
        root.mkdir()
        raise OSError("no network")

    monkeypatch.setattr(datasets.datasets, "CIFAR10", offline)
    with pytest.raises(DataError, match=r"cifar10: not in .* and not to be downloaded: no network"):
        published_images("cifar10", tmp_path / "new", "train", 3, (32, 32))
    assert not (tmp_path / "new").exists()


def test_a_folder_s_images_are_scaled_and_cropped(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "a.png")
    Image.new("RGB", (16, 16), (0, 0, 0)).save(tmp_path / "b.png")
    images = folder_images(tmp_path, 3, (8, 16))
    assert images[0].shape == images[1].shape == (3, 8, 16)
    assert images[0].float().mean((1, 2)).tolist() == [255, 0, 0]


def test_folders_in_a_folder_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/1.png", "cat/deeper/2.png", "cat/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / name)
    assert folder_images(tmp_path, 1, (8, 8)).class_counts == (3, 1)
    Image.new("L", (8, 8)).save(tmp_path / "of no class.png")
    assert folder_images(tmp_path, 1, (8, 8)).class_counts == ()


def test_the_digest_follows_the_content(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 1).save(tmp_path / "a.png")
    first = folder_images(tmp_path, 1, (8, 8))
    assert folder_images(tmp_path, 1, (8, 8)).digest == first.digest
    Image.new("L", (8, 8), 2).save(tmp_path / "a.png")
    assert folder_images(tmp_path, 1, (8, 8)).digest != first.digest
    assert folder_images(tmp_path, 1, (4, 4)).digest != folder_images(tmp_path, 1, (8, 8)).digest


def test_small_and_damaged_images_are_named(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "small.png")
    with pytest.raises(DataError, match=r"1 images are smaller than 16 × 16: small\.png"):
        folder_images(tmp_path, 1, (16, 16))
    for name in ("one.png", "two.png"):
        (tmp_path / name).write_bytes(b"not a picture")
    with pytest.raises(ImagesError, match=r"2 not readable as images: one\.png, two\.png"):
        folder_images(tmp_path, 1, (8, 8))


def test_a_cut_off_image_is_named_before_any_is_read(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(tmp_path / "cut.jpg")
    content = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImagesError, match=r"cut\.jpg"):
        folder_images(tmp_path, 1, (8, 8))


def test_grey_images_fill_three_channels(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "red.png")
    grey = folder_images(tmp_path, 1, (8, 8))[0]
    assert torch.equal(grey[0], grey[1])
