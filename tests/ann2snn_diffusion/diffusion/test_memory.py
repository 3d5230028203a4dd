from collections.abc import Callable

import pytest
from diffusers import UNet2DModel

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.diffusion.memory import (
    AT_ONCE,
    LARGE,
    MOST_AT_ONCE,
    bytes_per_image,
    fewer_if_large,
    images_at_once,
    require_memory,
    require_memory_of_passes,
)


def test_more_images_than_memory_holds_are_refused_with_their_size(unet: UNet2DModel) -> None:
    require_memory("states", 1000, unet)
    with pytest.raises(SpecError, match=r"states = 1000000000000: expected fewer: these are 238,419 GiB of images"):
        require_memory("states", 10**12, unet)


def test_what_passes_together_follows_what_an_image_takes(make_unet: Callable[..., UNet2DModel]) -> None:
    small, large = make_unet(), make_unet(sample_size=4096)
    assert bytes_per_image(large) == pytest.approx(2**18 * bytes_per_image(small))
    assert images_at_once(small) == MOST_AT_ONCE
    assert images_at_once(large) == 1
    middling = make_unet(sample_size=512)
    assert images_at_once(middling) * bytes_per_image(middling) <= AT_ONCE
    assert images_at_once(middling) > images_at_once(middling, 3) >= 1


def test_where_an_image_holds_much_fewer_are_taken_unasked(make_unet: Callable[..., UNet2DModel]) -> None:
    assert fewer_if_large(make_unet(), 8, 2) == 8
    twice = make_unet(sample_size=8 * round((2 * LARGE / bytes_per_image(make_unet())) ** 0.5))
    assert fewer_if_large(twice, 8, 2) == 4
    assert fewer_if_large(make_unet(sample_size=4096), 8, 2) == 2


def test_states_whose_activations_no_machine_holds_are_refused(make_unet: Callable[..., UNet2DModel]) -> None:
    with pytest.raises(SpecError, match=r"states = 20000: expected fewer: these are [\d,]+ GiB of activations"):
        require_memory_of_passes("states", 20_000, make_unet(sample_size=256))
