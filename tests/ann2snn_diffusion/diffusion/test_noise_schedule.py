import json
from typing import Any

import pytest
import torch
from diffusers import CMStochasticIterativeScheduler, DDIMScheduler, DDPMScheduler, EDMEulerScheduler
from diffusers import ScoreSdeVeScheduler as VeScheduler

from ann2snn_diffusion.diffusion.noise_levels import own_starts, sampler_timesteps
from ann2snn_diffusion.diffusion.noise_schedule import ScheduleError, noise_schedule, require_betas

SIGMA = [VeScheduler(), VeScheduler(num_train_timesteps=200, sigma_max=50.0), CMStochasticIterativeScheduler()]
ALL = [DDPMScheduler(), DDIMScheduler(num_train_timesteps=50), *SIGMA]


def test_a_ve_model_is_told_the_sigmas_of_diffusers() -> None:
    schedule = noise_schedule(VeScheduler())
    torch.testing.assert_close(schedule.told, VeScheduler().discrete_sigmas, rtol=1e-4, atol=0)
    torch.testing.assert_close(schedule.noise.sqrt(), schedule.told)


def test_a_consistency_model_is_told_and_shown_what_its_pipeline_gives_it(generator: torch.Generator) -> None:
    scheduler: Any = CMStochasticIterativeScheduler()
    schedule, states = noise_schedule(scheduler), torch.randn(1, 3, 4, 4, generator=generator)
    scheduler.set_timesteps(40)
    torch.testing.assert_close(schedule.told.flip(0), scheduler.timesteps.float())
    for index, timestep in enumerate(scheduler.timesteps[:3]):
        scheduler._step_index = None
        shown, told = schedule.asked(states, torch.tensor([39 - index]))
        torch.testing.assert_close(shown, scheduler.scale_model_input(states, timestep))
        torch.testing.assert_close(told[0], timestep.float())


@pytest.mark.parametrize("scheduler", ALL)
def test_segments_that_are_stored_start_where_they_were_put(scheduler: Any) -> None:
    schedule = noise_schedule(scheduler)
    starts = list(own_starts(scheduler, (0, 10, 25, 50, 120, 300, 450, 600, 700, 800, 900)))
    stored = schedule.first_told(starts)
    assert stored[0] <= 0
    assert schedule.starts(json.loads(json.dumps(stored))) == starts
    assert schedule.starts((*stored, 10**9)) == starts


@pytest.mark.parametrize("scheduler", SIGMA)
def test_sampling_without_betas_takes_edm_s_steps_from_the_largest_sigma_to_the_least(scheduler: Any) -> None:
    schedule, steps = noise_schedule(scheduler), sampler_timesteps(scheduler, 10)
    assert steps[0] == len(schedule) - 1
    assert steps[-1] == 0
    assert len(steps) == 10
    found, least, most = schedule.noise.sqrt()[steps], schedule.noise[0] ** 0.5, schedule.noise[-1] ** 0.5
    wanted = (most ** (1 / 7) + torch.arange(10) / 9 * (least ** (1 / 7) - most ** (1 / 7))) ** 7
    distance = (schedule.noise.sqrt()[:, None] - wanted).abs().amin(0)
    torch.testing.assert_close((found - wanted).abs(), distance, rtol=1e-3, atol=1e-3)


def test_a_kind_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(ScheduleError, match="EDMEulerScheduler: expected a scheduler with a β schedule"):
        noise_schedule(EDMEulerScheduler())
    require_betas(DDPMScheduler(), "this")
    with pytest.raises(ScheduleError, match="ScoreSdeVeScheduler: this needs a scheduler with a β"):
        require_betas(VeScheduler(), "this")
