import dataclasses
from collections.abc import Callable

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.diffusion.noising import ddim_step
from ann2snn_diffusion.training.rollout import Rollout, advance, start


def test_a_rollout_starts_spread_evenly_over_all_noise_levels(unet: UNet2DModel, generator: torch.Generator) -> None:
    started = start(unet, DDPMScheduler(), 20, 5, 0.25, generator)
    assert sorted(started.diffusion_timesteps.tolist()) == [50 * step for step in range(20)]
    assert started.own.sum() == 5
    assert torch.isfinite(started.states).all()


def test_own_images_follow_the_snn_and_the_others_the_ann(unet: UNet2DModel, generator: torch.Generator) -> None:
    scheduler = DDPMScheduler()
    before = start(unet, scheduler, 8, 3, 0.5, generator)
    before = dataclasses.replace(before, diffusion_timesteps=torch.full((8,), 600))
    target, predicted = torch.randn(2, 8, 1, 8, 8, generator=generator)
    after = advance(before, unet, scheduler, 25, target, predicted, generator)
    used = torch.where(before.own.view(-1, 1, 1, 1), predicted, target)
    expected = ddim_step(scheduler, used, before.states, before.diffusion_timesteps, after.diffusion_timesteps)
    torch.testing.assert_close(after.states, expected)
    assert torch.equal(after.own, before.own)


def test_a_finished_image_starts_again_from_noise(unet: UNet2DModel, generator: torch.Generator) -> None:
    states = torch.full((200, 1, 8, 8), 7.0)
    finished = Rollout(states, torch.zeros(200, dtype=torch.int64), None, torch.zeros(200, dtype=torch.bool))
    again = advance(finished, unet, DDPMScheduler(), 25, states, states, generator)
    assert again.diffusion_timesteps.min() >= 1000 - 80
    assert again.diffusion_timesteps.max() == 999
    assert again.states.std().item() == pytest.approx(1, abs=0.05)


def test_every_noise_level_is_met_equally_often(unet: UNet2DModel, generator: torch.Generator) -> None:
    states = torch.zeros(64, 1, 8, 8)
    rollout = Rollout(states, torch.arange(64) * 15, None, torch.zeros(64, dtype=torch.bool))
    met = []
    for _ in range(200):
        rollout = advance(rollout, unet, DDPMScheduler(), 25, states, states, generator)
        met.append(rollout.diffusion_timesteps)
    counts = torch.histc(torch.cat(met).float(), 10, 0, 1000)
    assert counts.min() > 0.8 * counts.max()
    assert len(torch.cat(met).unique()) > 990


def test_new_images_get_class_labels_of_their_own(
    make_unet: Callable[..., UNet2DModel], generator: torch.Generator
) -> None:
    unet = make_unet(num_class_embeds=5)
    rollout = start(unet, DDPMScheduler(), 40, 3, 0.0, generator)
    assert rollout.class_labels is not None
    finishing = dataclasses.replace(rollout, diffusion_timesteps=(torch.arange(40) % 2) * 900)
    after = advance(finishing, unet, DDPMScheduler(), 25, rollout.states, rollout.states, generator)
    assert after.class_labels is not None
    assert torch.equal(after.class_labels[1::2], rollout.class_labels[1::2])
    assert not torch.equal(after.class_labels[::2], rollout.class_labels[::2])
