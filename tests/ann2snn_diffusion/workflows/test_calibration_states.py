from collections.abc import Callable

import pytest
from diffusers import UNet2DModel

from ann2snn_diffusion import CalibrationSpec, FidelitySpec, load_source
from ann2snn_diffusion.workflows.calibration_states import state_count
from ann2snn_diffusion.workflows.result_folder import Writing


@pytest.fixture(params=[8, 64, 128, 256, 4096])
def sized(request: pytest.FixtureRequest, make_unet: Callable[..., UNet2DModel]) -> UNet2DModel:
    return make_unet(sample_size=request.param)


def test_what_nobody_asked_for_shrinks_with_what_an_image_holds_but_not_to_nothing(sized: UNet2DModel) -> None:
    """An image of this network holds 2.1 MiB at 64², 8.5 at 128², 34 at 256²; beyond 5 fewer are taken."""
    pictures, compared, calibrated = {8: (8, 8, 352), 64: (8, 8, 352), 128: (4, 4, 100), 256: (1, 2, 25)}.get(
        sized.config["sample_size"], (1, 2, 11)
    )
    assert Writing().shown(sized) == pictures
    assert FidelitySpec().per_stratum(sized) == compared
    assert state_count(CalibrationSpec(), sized, 11) == calibrated


def test_what_was_asked_for_stays(sized: UNet2DModel) -> None:
    assert Writing(samples=5).shown(sized) == 5
    assert FidelitySpec(3).per_stratum(sized) == 3
    assert state_count(CalibrationSpec(states=3), sized, 11) == 3


def test_the_bundled_model_is_calibrated_on_as_many_states_as_its_figures_were_measured_with() -> None:
    assert state_count(CalibrationSpec(), load_source().unet, 11) == 352
