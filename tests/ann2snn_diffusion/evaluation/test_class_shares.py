from collections.abc import Callable
from dataclasses import replace

import pytest
from diffusers import UNet2DModel

from ann2snn_diffusion.evaluation.class_shares import class_shares, labels_in_words
from ann2snn_diffusion.evaluation.real_data import bundled_data


@pytest.mark.parametrize(
    ("classes", "counts", "expected", "words"),
    [
        (3, (1, 2, 1), (0.25, 0.5, 0.25), "as often as in fashion-mnist train"),
        (4, (1, 2, 1), (0.25, 0.5, 0.25), "as often as in fashion-mnist train; 3, which they have not, is left out"),
        (5, (1, 2, 1), (), "uniformly from 0 to 4"),
        (3, (), (), "uniformly from 0 to 2"),
        (1, (), (), "uniformly from 0 to 0"),
        (None, (1, 2, 1), (), ""),
    ],
)
def test_classes_are_drawn_as_often_as_real_images_have_them(
    make_unet: Callable[..., UNet2DModel], classes: int | None, counts: tuple[int, ...],
    expected: tuple[float, ...], words: str,
) -> None:  # fmt: skip
    unet, real = make_unet(num_class_embeds=classes), replace(bundled_data(1, (32, 32)), class_counts=counts)
    assert class_shares(unet, real) == expected
    assert labels_in_words(unet, real) == words


def test_without_real_images_all_classes_are_drawn_equally_often(make_unet: Callable[..., UNet2DModel]) -> None:
    unet = make_unet(num_class_embeds=11)
    assert class_shares(unet, None) == ()
    assert labels_in_words(unet, None) == "uniformly from 0 to 10"
