from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

from ann2snn_diffusion.diffusion.sampling import Drawing, choose_scheduler, sample
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec, measure_fidelity
from ann2snn_diffusion.models.loading import Source, load_converted
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.training.spec import TrainingSpec
from ann2snn_diffusion.workflows.convert import convert, convert_to_folder
from ann2snn_diffusion.workflows.finetune import finetune
from ann2snn_diffusion.workflows.result_folder import Writing

QUICK = CalibrationSpec(energy=0, states=28, positions=64, sampler_steps=3)
FEW = FidelitySpec(2, 3)
Make = Callable[..., UNet2DModel]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers with NumPy 2
def test_of_a_network_that_learned_its_variance_the_mean_is_compared_and_drawn(make_unet: Make) -> None:
    unet, scheduler = make_unet(in_channels=3, out_channels=6), DDPMScheduler(variance_type="learned_range")
    snn = convert(unet, scheduler, calibration=QUICK, fidelity=FEW).unet
    assert snn.config["out_channels"] == 6
    report = measure_fidelity(snn, scheduler, spec=FEW)
    with torch.no_grad():
        snn.conv_out.weight[3:] += 1  # nobody compares the variance
    assert [one.power for one in measure_fidelity(snn, scheduler, spec=FEW).strata] == [
        pytest.approx(one.power, rel=1e-5) for one in report.strata
    ]
    with torch.no_grad():
        snn.conv_out.weight[3:] -= 1
    for name in ("ddpm", "ddim", "dpmsolvermultistep"):
        assert sample(snn, choose_scheduler(scheduler, name), Drawing(2, 3)).shape == (2, 3, 8, 8)
    trained = finetune(snn, scheduler, spec=TrainingSpec(steps=1, train_batch_size=2), fidelity=FEW)
    assert trained is not None
    assert trained.unet.config["out_channels"] == 6


@pytest.mark.parametrize("channels", [2, 5])
def test_pictures_of_any_number_of_channels_are_drawn(make_unet: Make, tmp_path: Path, channels: int) -> None:
    unet = make_unet(in_channels=channels, out_channels=channels)
    source = Source(unet, DDIMScheduler(), "tiny")  # pyright: ignore[reportArgumentType]
    convert_to_folder(source, tmp_path / "snn", calibration=QUICK, writing=Writing(samples=2, sample_steps=2))
    assert (tmp_path / "snn" / "samples.png").exists()
    assert load_converted(tmp_path / "snn").unet.config["in_channels"] == channels
