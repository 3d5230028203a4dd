from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler

from ann2snn_diffusion.diffusion.noise_levels import own_starts, own_timesteps, sampler_timesteps

STARTS = (0, 10, 25, 50, 120, 300, 450, 600, 700, 800, 900)
SCHEDULES: dict[str, dict[str, Any]] = {
    **{f"{count} steps": {"num_train_timesteps": count, "beta_end": min(0.9, 20 / count), "beta_start": 0.1 / count}
       for count in (10, 50, 100, 500, 2000, 4000)},
    "scaled linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "zero terminal SNR": {"rescale_betas_zero_snr": True},
    "4000 steps of the same β": {"num_train_timesteps": 4000},
}  # fmt: skip


def log_snr(scheduler: Any) -> torch.Tensor:
    signal = scheduler.alphas_cumprod.double()
    return (signal / (1 - signal)).log()


@pytest.mark.parametrize("kind", [DDPMScheduler, DDIMScheduler, EulerDiscreteScheduler])
def test_on_the_reference_every_timestep_is_its_own(kind: Any) -> None:
    scheduler = kind(beta_start=1e-4, beta_end=0.02)
    assert torch.equal(own_timesteps(scheduler, torch.arange(1000)), torch.arange(1000))
    assert own_starts(scheduler, STARTS) == {start: start for start in STARTS}
    assert own_timesteps(scheduler, torch.tensor([1000, 5000])).tolist() == [1000, 1000]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_timestep_is_the_first_as_noisy_as_the_reference_s(name: str) -> None:
    scheduler, reference = DDIMScheduler(**SCHEDULES[name]), torch.arange(1000)
    own, count = own_timesteps(scheduler, reference), len(scheduler.alphas_cumprod)
    there = log_snr(DDPMScheduler())
    here = torch.cat([log_snr(scheduler), torch.tensor([-torch.inf])])
    assert (here[own] <= there + 1e-5).all()
    before = (own > 0) & (own <= count)
    assert (here[own[before] - 1] > there[before] - 1e-5).all()


@pytest.mark.parametrize("name", SCHEDULES)
def test_ranges_start_at_0_and_ascend_within_the_schedule(name: str) -> None:
    scheduler = DDIMScheduler(**SCHEDULES[name])
    starts = list(own_starts(scheduler, STARTS))
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert starts[-1] < len(scheduler.alphas_cumprod)
    assert len(starts) >= 4


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_the_sampler_s_steps_on_the_reference_are_ddim_s(spacing: Any) -> None:
    ddim = DDIMScheduler(timestep_spacing=spacing, steps_offset=1)
    ddim.set_timesteps(25)
    assert torch.equal(sampler_timesteps(ddim, 25), ddim.timesteps)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_sampler_s_steps_descend_and_begin_at_noise(name: str) -> None:
    scheduler = DDIMScheduler(**SCHEDULES[name])
    steps = sampler_timesteps(scheduler, 25)
    assert (steps.diff() < 0).all()
    assert 1 <= len(steps) <= 25
    last = len(scheduler.alphas_cumprod) - 1
    assert steps[0] == last or log_snr(scheduler)[steps[0]] < -8
