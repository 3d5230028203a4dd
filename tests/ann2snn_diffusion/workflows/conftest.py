"""What tests of several workflows share."""

from pathlib import Path

import pytest
from diffusers import DDPMScheduler

from ann2snn_diffusion.models.loading import Source
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.workflows.convert import convert_to_folder
from ann2snn_diffusion.workflows.result_folder import Writing
from tests.conftest import build_unet


@pytest.fixture(scope="module")
def converted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny converted model."""
    source = Source(build_unet(), DDPMScheduler(), "tiny")  # pyright: ignore[reportArgumentType]
    output = tmp_path_factory.mktemp("models") / "snn"
    spec = SpikeSpec(segments=(0, 300))
    quick = CalibrationSpec(energy=0, states=56, positions=256, sampler_steps=4)
    convert_to_folder(source, output, spec=spec, calibration=quick, writing=Writing(samples=0))
    return output
