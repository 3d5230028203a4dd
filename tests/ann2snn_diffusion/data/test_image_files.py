import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ann2snn_diffusion.data.image_files import (
    ImagesError,
    covering,
    find_images,
    image_size,
    open_image,
    peculiarities,
    read_images,
    refuse_damaged,
)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_resized_cropped_and_scaled(tmp_path: Path, generator: torch.Generator, channels: int) -> None:
    Image.new("RGB", (20, 40), (255, 255, 255)).save(tmp_path / "white.png")
    Image.new("RGB", (64, 16), (0, 0, 0)).save(tmp_path / "black.JPG")
    images, _ = read_images(tmp_path, 9, channels, (8, 8), generator)
    assert images.shape == (2, channels, 8, 8)
    assert sorted(images.amax((1, 2, 3)).tolist()) == [-1, 1]


def test_no_more_images_than_asked_for_are_read(tmp_path: Path, generator: torch.Generator) -> None:
    for index in range(5):
        Image.new("L", (8, 8), index).save(tmp_path / f"{index}.png")
    assert len(read_images(tmp_path, 3, 1, (8, 8), generator)[0]) == 3


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path, generator: torch.Generator) -> None:
    for folder, message in ((tmp_path / "none", "no such folder"), (tmp_path, "no images")):
        with pytest.raises(ImagesError, match=message):
            read_images(folder, 1, 1, (8, 8), generator)


def test_an_unreadable_image_is_named(tmp_path: Path, generator: torch.Generator) -> None:
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(ImagesError, match=r"broken\.png: not readable"):
        read_images(tmp_path, 1, 1, (8, 8), generator)


def colour(path: Path, mode: str = "RGB") -> tuple[int, ...]:
    pixel = np.asarray(open_image(path, mode))[0, 0]
    return tuple(np.atleast_1d(pixel).tolist())


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    for kind in ("png", "tif"):
        Image.fromarray(np.full((4, 4), 0x8080, np.uint16)).save(tmp_path / f"grey.{kind}")
        assert colour(tmp_path / f"grey.{kind}", "L") == (0x80,)
    Image.fromarray(np.full((4, 4), 0xFFFF, np.uint16)).save(tmp_path / "white.png")
    assert colour(tmp_path / "white.png") == (255, 255, 255)


def test_transparency_lies_over_white_and_is_said(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("LA", (4, 4), (0, 255)).save(tmp_path / "opaque.png")
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "palette.png")
    palette.save(tmp_path / "clear palette.png", transparency=1)
    assert colour(tmp_path / "clear.png") == colour(tmp_path / "clear palette.png") == (255, 255, 255)
    assert colour(tmp_path / "opaque.png") == (0, 0, 0)
    assert colour(tmp_path / "palette.png") == (0, 255, 0)
    assert peculiarities(find_images(tmp_path)) == "3 transparent, over white"


def test_cmyk_is_read_as_colours(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (255, 0, 0)).convert("CMYK").save(tmp_path / "red.tif")
    assert colour(tmp_path / "red.tif") == (255, 0, 0)


def test_a_rotation_in_exif_is_carried_out(tmp_path: Path) -> None:
    image, exif = Image.new("RGB", (20, 10)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert image_size(tmp_path / "turned.jpg") == (20, 10)
    assert open_image(tmp_path / "turned.jpg", "L").size == (10, 20)


def test_of_an_animation_the_first_frame_counts_and_is_said(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert colour(tmp_path / "moving.gif", "L") == (10,)
    assert peculiarities([tmp_path / "moving.gif"]) == "1 animated, the first frame"


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif", "gif"])
def test_a_cut_off_file_is_found_up_front(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"cut.{kind}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    refuse_damaged(tmp_path, [file])
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ImagesError, match=f"1 not readable as images: cut.{kind}"):
        refuse_damaged(tmp_path, [file])


def test_pipes_and_enormous_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (40, 40)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImagesError, match=r"large\.png: enormous"):
        open_image(tmp_path / "large.png", "L")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImagesError, match=r"pipe\.png: expected a regular file"):
        find_images(tmp_path)


@pytest.mark.parametrize("found", [(20, 40), (40, 20), (8, 16), (9, 16), (100, 3)])
@pytest.mark.parametrize("wanted", [(8, 16), (16, 8), (8, 8)])
def test_images_are_scaled_no_further_than_to_cover(found: tuple[int, int], wanted: tuple[int, int]) -> None:
    steps: Any = covering(found, wanted)
    resize, crop = steps.transforms
    scaled = resize.size
    assert all(got >= least for got, least in zip(scaled, wanted, strict=True))
    assert any(got == least for got, least in zip(scaled, wanted, strict=True))
    assert tuple(crop.size) == wanted
    if found == wanted:
        assert tuple(scaled) == found
