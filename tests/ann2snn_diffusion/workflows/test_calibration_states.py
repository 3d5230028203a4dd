from collections.abc import Callable

import pytest
from diffusers import UNet2DModel

from ann2snn_diffusion import FidelitySpec, load_source
from ann2snn_diffusion.workflows.calibration_states import enough_states
from ann2snn_diffusion.workflows.result_folder import Writing


@pytest.fixture(params=[8, 64, 128, 256, 4096])
def sized(request: pytest.FixtureRequest, make_unet: Callable[..., UNet2DModel]) -> UNet2DModel:
    return make_unet(sample_size=request.param)


def test_what_nobody_asked_for_shrinks_as_images_grow_but_not_to_nothing(sized: UNet2DModel) -> None:
    pixels = sized.config["sample_size"] ** 2
    assert Writing().shown(sized) == {64: 8, 4096: 8, 16384: 2}.get(pixels, 1)
    assert FidelitySpec().per_stratum(sized) == {64: 8, 4096: 8}.get(pixels, 2)
    states = enough_states(sized, 11)
    assert states == 352 if pixels <= 4096 else 11 <= states < 352


def test_what_was_asked_for_stays(sized: UNet2DModel) -> None:
    assert Writing(samples=5).shown(sized) == 5
    assert FidelitySpec(3).per_stratum(sized) == 3


def test_the_bundled_model_is_calibrated_on_as_many_states_as_its_figures_were_measured_with() -> None:
    assert enough_states(load_source().unet, 11) == 352
