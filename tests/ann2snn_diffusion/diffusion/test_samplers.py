from typing import Any

import numpy as np
import pytest
import torch
from diffusers import CMStochasticIterativeScheduler, DDPMScheduler, ScoreSdeVePipeline, ScoreSdeVeScheduler

from ann2snn_diffusion.common.random_streams import image_stream
from ann2snn_diffusion.diffusion.samplers import HeunVeScheduler, samplers
from ann2snn_diffusion.diffusion.sampling import Drawing, SamplingError, choose_scheduler, sample
from tests.conftest import build_unet

FOURIER: dict[str, Any] = {"in_channels": 3, "out_channels": 3, "time_embedding_type": "fourier"}


def test_few_steps_without_betas_are_heun_s_or_the_model_s_own() -> None:
    ve, consistency = ScoreSdeVeScheduler(num_train_timesteps=100), CMStochasticIterativeScheduler()
    assert type(choose_scheduler(ve, "ddim")) is HeunVeScheduler
    assert choose_scheduler(ve, "ddim").config["num_train_timesteps"] == 100
    assert type(choose_scheduler(ve, "scoresdeve")) is ScoreSdeVeScheduler
    assert type(choose_scheduler(consistency, "ddim")) is CMStochasticIterativeScheduler
    assert next(iter(samplers(DDPMScheduler()))) == "ddim"
    with pytest.raises(SamplingError, match="expected one of heunve, scoresdeve"):
        choose_scheduler(ve, "pndm")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers with NumPy 2
def test_predictor_and_corrector_are_those_of_the_pipeline() -> None:
    unet, scheduler = build_unet(**FOURIER), ScoreSdeVeScheduler(num_train_timesteps=20, sigma_max=10.0)
    pipeline: Any = ScoreSdeVePipeline(unet, scheduler)
    expected = pipeline(1, 5, image_stream(3, 0), output_type="np").images[0]
    found = sample(unet, scheduler, Drawing(1, 5, seed=3))[0].permute(1, 2, 0).numpy()
    assert expected.std() > 0
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["heunve", "scoresdeve"])
def test_an_image_depends_on_its_own_seed_alone(name: str) -> None:
    unet, scheduler = (
        build_unet(**FOURIER),
        choose_scheduler(ScoreSdeVeScheduler(num_train_timesteps=20, sigma_max=10.0), name),
    )
    both = sample(unet, scheduler, Drawing(2, 4))
    alone = sample(unet, scheduler, Drawing(1, 4, seed=1))
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-4)
