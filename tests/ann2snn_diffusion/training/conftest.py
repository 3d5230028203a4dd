"""What tests of training share."""

from collections.abc import Callable
from typing import Any

import pytest
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.workflows.convert import convert

QUICK = CalibrationSpec(energy=0, states=4, positions=64, sampler_steps=2)


@pytest.fixture
def make_snn(unet: UNet2DModel, scheduler: DDPMScheduler) -> Callable[..., SpikingUNet2DModel]:
    def make(**spec: Any) -> SpikingUNet2DModel:
        return convert(
            unet, scheduler, spec=SpikeSpec(**{"segments": (0,), "time_steps": 2} | spec), calibration=QUICK
        ).unet

    return make
