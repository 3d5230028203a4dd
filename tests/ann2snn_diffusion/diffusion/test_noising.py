from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers import (
    CMStochasticIterativeScheduler,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    ScoreSdeVeScheduler,
)

from ann2snn_diffusion.diffusion.noise_schedule import noise_schedule
from ann2snn_diffusion.diffusion.noising import (
    ddim_step,
    image_error_weights,
    noise_between,
    noisy,
    predicted_image,
    target,
)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(
    "bounds",
    [
        {"clip_sample": False},
        {"clip_sample": True, "clip_sample_range": 0.7},
        {"thresholding": True, "sample_max_value": 3.0, "dynamic_thresholding_ratio": 0.8},
    ],
)
@pytest.mark.parametrize("noise", [{}, {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 4000}])
def test_a_step_is_that_of_diffusers_ddim(
    prediction_type: str, bounds: dict[str, Any], noise: dict[str, Any], generator: torch.Generator
) -> None:
    scheduler: Any = DDIMScheduler.from_config({"prediction_type": prediction_type, **bounds, **noise})
    scheduler.set_timesteps(20)
    width = scheduler.config.num_train_timesteps // 20
    predicted, states = torch.randn(2, 3, 1, 4, 4, generator=generator)
    expected = scheduler.step(predicted, 500, states).prev_sample
    found = ddim_step(scheduler, predicted, states, torch.full((3,), 500), torch.full((3,), 500 - width))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", [PNDMScheduler, EulerDiscreteScheduler, DPMSolverMultistepScheduler])
def test_a_scheduler_that_knows_no_clipping_does_not_clip(kind: Any, generator: torch.Generator) -> None:
    predicted, states = torch.randn(2, 3, 1, 4, 4, generator=generator)
    timesteps, ddim = (torch.full((3,), 900), torch.full((3,), 800)), DDIMScheduler(clip_sample=False)
    expected = ddim_step(ddim, predicted, states, *timesteps)
    torch.testing.assert_close(ddim_step(kind(beta_start=1e-4, beta_end=0.02), predicted, states, *timesteps), expected)


def test_each_image_moves_from_its_own_noise_level(generator: torch.Generator) -> None:
    scheduler = DDIMScheduler()
    predicted, states = torch.randn(2, 2, 1, 4, 4, generator=generator)
    levels, following = torch.tensor([900, 20]), torch.tensor([860, 3])
    both = ddim_step(scheduler, predicted, states, levels, following)
    for row in (0, 1):
        one = slice(row, row + 1)
        alone = ddim_step(scheduler, predicted[one], states[one], levels[one], following[one])
        torch.testing.assert_close(both[one], alone)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_image_and_noise_follow_from_a_state_and_its_target(prediction_type: str, generator: torch.Generator) -> None:
    scheduler: Any = DDIMScheduler.from_config({"prediction_type": prediction_type})
    clean, noise = torch.randn(2, 3, 1, 4, 4, generator=generator)
    diffusion_timesteps = torch.tensor([3, 400, 900])
    states = noisy(scheduler, clean, noise, diffusion_timesteps)
    torch.testing.assert_close(states, scheduler.add_noise(clean, noise, diffusion_timesteps))
    wanted = target(scheduler, clean, noise, diffusion_timesteps)
    found = predicted_image(scheduler, wanted, states, diffusion_timesteps)
    torch.testing.assert_close(found, clean, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        noise_between(scheduler, states, clean, diffusion_timesteps), noise, rtol=1e-3, atol=1e-3
    )


def test_without_betas_errors_weigh_by_what_they_do_to_the_image() -> None:
    score, bounds = ScoreSdeVeScheduler(num_train_timesteps=100, sigma_max=100.0), (0, 30, 60, 80, 100)
    sigma = noise_schedule(score).noise.sqrt().double()
    moved = torch.minimum(torch.cat([sigma[:1], sigma.diff()]) * 4, sigma).square() / (1 + sigma.square())
    consistency: Any = CMStochasticIterativeScheduler(num_train_timesteps=100)
    level = noise_schedule(consistency).noise.sqrt().double()
    out = (level - 0.002) * 0.5 / (level.square() + 0.25).sqrt()
    for scheduler, weights in ((score, moved), (consistency, out.square() / (1 + level.square()))):
        expected = torch.stack([weights[low:high].mean() for low, high in pairwise(bounds)])
        found = image_error_weights(scheduler, bounds)
        torch.testing.assert_close(found, (expected / expected.max()).float(), rtol=1e-4, atol=1e-6)
