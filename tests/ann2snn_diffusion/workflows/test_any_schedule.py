import json
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    ScoreSdeVeScheduler,
    UNet2DModel,
)

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.diffusion.sampling import Drawing, SamplingError, choose_scheduler, sample
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.training.spec import TrainingSpec
from ann2snn_diffusion.workflows.convert import convert
from ann2snn_diffusion.workflows.finetune import finetune
from ann2snn_diffusion.workflows.fitness import on_schedule

QUICK = CalibrationSpec(energy=0, states=66, positions=64)
FEW = FidelitySpec(2, 3)
TEN: dict[str, Any] = {"num_train_timesteps": 10, "beta_start": 0.01, "beta_end": 0.9}


@pytest.mark.slow
@pytest.mark.parametrize(
    "scheduler",
    [
        DDPMScheduler(**TEN),
        DDPMScheduler(num_train_timesteps=4000, beta_start=0.000025, beta_end=0.005),
        DDIMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing"),
        DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample", thresholding=True),
        PNDMScheduler(steps_offset=1, beta_schedule="scaled_linear"),
        EulerDiscreteScheduler(),
        DPMSolverMultistepScheduler(),
    ],
    ids=["10", "4000", "zero terminal SNR", "cosine", "PNDM", "Euler", "DPM-Solver"],
)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers with NumPy 2
def test_networks_of_any_schedule_convert_learn_and_draw(unet: UNet2DModel, scheduler: Any) -> None:
    conversion = convert(unet, scheduler, calibration=QUICK, fidelity=FEW)
    assert conversion.report.epsilon_error < 0.5
    assert conversion.report.strata[-1].stop == len(scheduler.alphas_cumprod)
    trained = finetune(conversion.unet, scheduler, spec=TrainingSpec(steps=2, train_batch_size=3), fidelity=FEW)
    assert trained is not None
    for sampler in (scheduler, choose_scheduler(scheduler, "ddim")):
        assert torch.isfinite(sample(trained.unet, sampler, Drawing(1, 10))).all()


def test_segments_and_their_guidance_move_to_equal_noise() -> None:
    spec = SpikeSpec(segments=(0, 10, 50, 300), guidance={"all": 0.9, "segment.10": 0.8, "segment.300": 1.1})
    assert on_schedule(spec, DDPMScheduler()) is spec
    moved = on_schedule(spec, DDPMScheduler(num_train_timesteps=500, beta_start=0.0002, beta_end=0.04))
    assert moved.segments == (0, 5, 25, 150)
    assert moved.guidance == {"all": 0.9, "segment.5": 0.8, "segment.150": 1.1}
    few = on_schedule(spec, DDPMScheduler(**TEN))
    assert few.segments == (0, 1, 4)
    assert few.guidance == {"all": 0.9, "segment.0": 0.8, "segment.4": 1.1}


def test_more_steps_than_there_are_timesteps_is_one_line(unet: UNet2DModel) -> None:
    with pytest.raises(SamplingError, match="steps = 11: expected at most 10"):
        sample(unet, DDPMScheduler(**TEN), Drawing(1, 11))
    with pytest.raises(SpecError, match="sampler_steps = 1001: expected a whole number from 1 to 1000"):
        TrainingSpec(sampler_steps=1001)


def test_a_scheduler_without_clipping_is_drawn_from_without() -> None:
    assert not choose_scheduler(PNDMScheduler(), "ddim").config.clip_sample
    assert choose_scheduler(DDPMScheduler(), "ddim").config.clip_sample


@pytest.mark.parametrize("segments", [(-5, 3), (0, 2.5)])
def test_a_conversion_is_asked_for_segments_in_ddpm_s_timesteps_alone(segments: tuple[float, ...]) -> None:
    with pytest.raises(SpecError, match="ascending diffusion timesteps from 0"):
        on_schedule(SpikeSpec(segments=segments), DDPMScheduler())


def test_guidance_of_a_segment_goes_where_the_segment_goes() -> None:
    spec = SpikeSpec(segments=(0, 50, 300), guidance={"segment.300": 0.9})
    found = on_schedule(spec, ScoreSdeVeScheduler(num_train_timesteps=200))
    assert found.guidance == {f"segment.{found.segments[2]}": 0.9}
    assert SpikeSpec.from_dict(json.loads(json.dumps(found.to_dict()))) == found
