from collections.abc import Callable

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

from ann2snn_diffusion.diffusion.conditioning import ConditionError
from ann2snn_diffusion.diffusion.trajectories import StatesSpec, record, sampling_states


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@torch.no_grad()
def test_states_at_the_sampler_s_own_steps_are_the_sampler_s_own_states(
    unet: UNet2DModel, prediction_type: str
) -> None:
    sampler = DDIMScheduler(prediction_type=prediction_type)  # pyright: ignore[reportArgumentType]
    trajectories = record(unet, sampler, 3, 5, torch.Generator().manual_seed(4))
    state = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    sampler.set_timesteps(5)
    for diffusion_timestep in sampler.timesteps:
        found = trajectories.states(torch.arange(3), diffusion_timestep.expand(3))
        torch.testing.assert_close(found.states, state, rtol=1e-4, atol=1e-4)
        state = sampler.step(unet(state, diffusion_timestep).sample, diffusion_timestep, state).prev_sample  # pyright: ignore


@torch.no_grad()
def test_states_between_steps_lie_on_the_ddim_path(unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
    trajectories = record(unet, scheduler, 1, 4, torch.Generator().manual_seed(0))  # steps at 750, 500, 250, 0
    rows = torch.zeros(1, dtype=torch.long)
    signal = scheduler.alphas_cumprod
    for diffusion_timestep, step in ((600, 0), (251, 1), (250, 2), (1, 2), (0, 3), (999, 0)):
        found = trajectories.states(rows, torch.tensor([diffusion_timestep]))
        root, rest = signal[diffusion_timestep].sqrt(), (1 - signal[diffusion_timestep]).sqrt()
        torch.testing.assert_close(
            found.states[0], root * trajectories.images[step, 0] + rest * trajectories.noises[step, 0]
        )


def test_class_labels_travel_with_their_trajectory(
    make_unet: Callable[..., UNet2DModel], scheduler: DDPMScheduler
) -> None:
    trajectories = record(make_unet(num_class_embeds=5), scheduler, 8, 2, torch.Generator().manual_seed(0))
    rows = torch.tensor([7, 0, 3])
    labels = trajectories.states(rows, torch.tensor([1, 2, 3])).class_labels
    assert trajectories.class_labels is not None
    assert labels is not None
    assert torch.equal(labels, trajectories.class_labels[rows])


@torch.no_grad()
def test_states_beside_a_condition_are_those_of_a_sampler_that_moves_the_image_alone(
    make_unet: Callable[..., UNet2DModel],
) -> None:
    unet, sampler, condition = make_unet(in_channels=3), DDIMScheduler(), torch.randn(2, 2, 8, 8)
    trajectories = record(unet, sampler, 4, 4, torch.Generator().manual_seed(4), condition=condition)
    beside = condition[torch.tensor([0, 1, 0, 1])]
    state = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    sampler.set_timesteps(4)
    for diffusion_timestep in sampler.timesteps:
        found = trajectories.states(torch.arange(4), diffusion_timestep.expand(4))
        torch.testing.assert_close(found.states, state, rtol=1e-4, atol=1e-4)
        given, _, _ = found.part(slice(1, 4)).arguments()
        torch.testing.assert_close(given, torch.cat([state, beside], 1)[1:], rtol=1e-4, atol=1e-4)
        predicted = unet(torch.cat([state, beside], 1), diffusion_timestep).sample
        state = sampler.step(predicted, diffusion_timestep, state).prev_sample  # pyright: ignore


def test_trajectories_without_the_condition_that_a_network_takes_are_refused(
    make_unet: Callable[..., UNet2DModel], scheduler: DDPMScheduler, generator: torch.Generator
) -> None:
    with pytest.raises(ConditionError, match="`condition` beside"):
        record(make_unet(in_channels=3), scheduler, 1, 2, generator)


def test_sampling_states_are_spread_and_as_many_as_asked_for(unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
    spec = StatesSpec(count=12, starts=(0, 100, 500), per_trajectory=4, sampler_steps=3)
    drawn, again = (sampling_states(unet, scheduler, spec, torch.Generator().manual_seed(seed)) for seed in (1, 1))
    assert torch.equal(drawn.states, again.states)
    counts = torch.bucketize(drawn.diffusion_timesteps, torch.tensor([100, 500]), right=True).bincount()
    assert counts.tolist() == [4, 4, 4]
