from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler

from ann2snn_diffusion.diffusion.noising import ddim_step, noise_between, noisy, predicted_image, target


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("clip_sample", [True, False])
def test_a_step_is_that_of_diffusers_ddim(prediction_type: str, clip_sample: bool, generator: torch.Generator) -> None:
    scheduler: Any = DDIMScheduler.from_config({"prediction_type": prediction_type, "clip_sample": clip_sample})
    scheduler.set_timesteps(20)
    predicted, states = torch.randn(2, 3, 1, 4, 4, generator=generator)
    # diffusers keeps ε as predicted where it clips the image.
    expected = scheduler.step(predicted, 500, states).prev_sample
    found = ddim_step(scheduler, predicted, states, torch.full((3,), 500), torch.full((3,), 450))
    torch.testing.assert_close(found, expected)


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
