from pathlib import Path

import pytest
import torch
from PIL import Image

from ann2snn_diffusion.data.image_files import ImagesError, read_images


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_resized_cropped_and_scaled(tmp_path: Path, generator: torch.Generator, channels: int) -> None:
    Image.new("RGB", (20, 40), (255, 255, 255)).save(tmp_path / "white.png")
    Image.new("RGB", (64, 16), (0, 0, 0)).save(tmp_path / "black.JPG")
    images = read_images(tmp_path, 9, channels, (8, 8), generator)
    assert images.shape == (2, channels, 8, 8)
    assert sorted(images.amax((1, 2, 3)).tolist()) == [-1, 1]


def test_no_more_images_than_asked_for_are_read(tmp_path: Path, generator: torch.Generator) -> None:
    for index in range(5):
        Image.new("L", (8, 8), index).save(tmp_path / f"{index}.png")
    assert len(read_images(tmp_path, 3, 1, (8, 8), generator)) == 3


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path, generator: torch.Generator) -> None:
    for folder, message in ((tmp_path / "none", "no such folder"), (tmp_path, "no images")):
        with pytest.raises(ImagesError, match=message):
            read_images(folder, 1, 1, (8, 8), generator)


def test_an_unreadable_image_is_named(tmp_path: Path, generator: torch.Generator) -> None:
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(ImagesError, match=r"broken\.png: not readable"):
        read_images(tmp_path, 1, 1, (8, 8), generator)
