"""Steps of models whose data is known: x_0 ~ N(0, I), where the score and the path to an image are in closed form."""

from typing import Any

import pytest
import torch
from diffusers import CMStochasticIterativeScheduler, ScoreSdeVeScheduler
from torch import Tensor

from ann2snn_diffusion.diffusion.noise_levels import sampler_timesteps
from ann2snn_diffusion.diffusion.noise_schedule import noise_schedule
from ann2snn_diffusion.diffusion.noising import noise_between, noisy, predicted_image, predicted_noise
from ann2snn_diffusion.diffusion.steps import step

VE = ScoreSdeVeScheduler(num_train_timesteps=4000, sigma_max=80.0)


def score(states: Tensor, diffusion_timesteps: Tensor) -> Tensor:
    """−x / (1 + σ²)."""
    return -states / (1 + noise_schedule(VE).noise[diffusion_timesteps].view(-1, 1, 1, 1))


def walked(steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Where a walk from x at the largest σ ends, and where the exact path x / √(1 + σ²) does."""
    starts, state = sampler_timesteps(VE, steps), 80 * torch.randn(2, 1, 4, 4, generator=generator)
    exact = state / (1 + 80**2) ** 0.5
    for start, following in zip(starts, [*starts[1:], starts[-1]], strict=True):
        piece = step(score, VE, state, start.expand(2), following.expand(2), generator)
        torch.testing.assert_close(noisy(VE, piece.images, piece.noises, start.expand(2)), state, rtol=1e-3, atol=1e-3)
        state = piece.end
    return state, exact


def test_heun_steps_follow_the_probability_flow_to_second_order() -> None:
    errors = []
    for steps in (40, 80):
        end, exact = walked(steps, torch.Generator().manual_seed(0))
        errors.append(((end - exact).norm() / exact.norm()).item())
    assert errors[0] < 0.01
    assert errors[1] < errors[0] / 3


def test_a_score_gives_the_image_and_the_noise_that_made_the_state(generator: torch.Generator) -> None:
    clean, noise = torch.randn(2, 3, 1, 4, 4, generator=generator)
    timesteps = torch.tensor([0, 1500, 3999])
    states, sigma = noisy(VE, clean, noise, timesteps), noise_schedule(VE).told[timesteps].view(-1, 1, 1, 1)
    torch.testing.assert_close(predicted_noise(VE, -noise / sigma, states, timesteps), noise)
    torch.testing.assert_close(predicted_image(VE, -noise / sigma, states, timesteps), clean, rtol=1e-3, atol=1e-4)


def test_a_consistency_step_is_that_of_diffusers() -> None:
    scheduler: Any = CMStochasticIterativeScheduler()
    output, states = torch.randn(2, 2, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    scheduler.set_timesteps(40)
    for index in (0, 10, 30):
        scheduler._step_index, scheduler.is_scale_input_called = None, True
        here, following = torch.full((2,), 39 - index), torch.full((2,), 38 - index)
        generators = [torch.Generator().manual_seed(5) for _ in range(2)]
        expected = scheduler.step(output, scheduler.timesteps[index], 9 * states, generators[0]).prev_sample
        found = step(lambda *_: output, scheduler, 9 * states, here, following, generators[1])
        # diffusers keeps σ_min apart from the noise that it adds: √(σ² − σ_min²).
        torch.testing.assert_close(found.end, expected, rtol=1e-3, atol=0.01)
        epsilon = predicted_noise(scheduler, output, 9 * states, here)
        image = predicted_image(scheduler, output, 9 * states, here)
        torch.testing.assert_close(epsilon, noise_between(scheduler, 9 * states, image, here))


@pytest.mark.parametrize("scheduler", [VE, CMStochasticIterativeScheduler()])
def test_noise_is_what_it_takes_from_the_image_to_the_state(scheduler: Any, generator: torch.Generator) -> None:
    output, states = torch.randn(2, 2, 1, 4, 4, generator=generator)
    timesteps = torch.tensor([3, 25])
    image, noise = (part(scheduler, output, states, timesteps) for part in (predicted_image, predicted_noise))
    torch.testing.assert_close(noisy(scheduler, image, noise, timesteps), states, rtol=1e-3, atol=1e-5)
