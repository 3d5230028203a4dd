from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, ScoreSdeVeScheduler, UNet2DModel

from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates, add_noise, noisy_images, spread_over


def test_noise_is_mixed_in_by_the_noise_level(generator: torch.Generator) -> None:
    images = torch.ones(2, 1, 64, 64)
    scheduler = DDPMScheduler()
    scheduler.alphas_cumprod = torch.tensor([1.0, 0.25])
    noisy = noisy_images(images, torch.tensor([0, 1, 0]), scheduler, generator)
    assert torch.equal(noisy[0], images[0])
    assert noisy[1].mean().item() == pytest.approx(0.5, abs=0.05)
    assert noisy[1].std().item() == pytest.approx(0.75**0.5, abs=0.05)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_noisy_images_and_their_target_belong_together(unet: UNet2DModel, prediction_type: str) -> None:
    scheduler: Any = DDPMScheduler.from_config({"prediction_type": prediction_type})
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    batch = add_noise(pixels, unet, scheduler, stream("training", 0, 0, 0))
    assert batch.states.shape == batch.target.shape == (2, 1, 8, 8)
    signal = scheduler.alphas_cumprod[batch.diffusion_timesteps].view(-1, 1, 1, 1)
    if prediction_type == "epsilon":
        image = (batch.states - (1 - signal).sqrt() * batch.target) / signal.sqrt()
    elif prediction_type == "v_prediction":
        image = signal.sqrt() * batch.states - (1 - signal).sqrt() * batch.target
    else:
        image = batch.target
    torch.testing.assert_close(image, torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand_as(image), atol=2e-3, rtol=0)


def test_every_range_gets_its_share(generator: torch.Generator) -> None:
    drawn = spread_over((0, 10, 500, 2000), 1000, 300, generator)
    counts = [((drawn >= low) & (drawn < high)).sum().item() for low, high in ((0, 10), (10, 500), (500, 1000))]
    assert counts == [100, 100, 100]


def test_the_arguments_of_some_rows_are_theirs(generator: torch.Generator) -> None:
    states = NoisyStates(torch.randn(5, 1, 2, 2, generator=generator), torch.arange(5), torch.arange(5, 10))
    images, diffusion_timesteps, labels = states.arguments(slice(1, 3))
    assert torch.equal(images, states.states[1:3])
    assert diffusion_timesteps.tolist() == [1, 2]
    assert labels is not None
    assert labels.tolist() == [6, 7]
    assert len(states.part(slice(3, 5))) == 2


def test_images_of_variance_exploding_models_are_from_0_to_1(generator: torch.Generator) -> None:
    images = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 32, 32)
    scheduler = ScoreSdeVeScheduler(num_train_timesteps=10, sigma_min=0.01, sigma_max=100.0)
    found = noisy_images(images, torch.tensor([0, 0, 9]), scheduler, generator)
    torch.testing.assert_close(found.mean((1, 2, 3))[:2], torch.tensor([0.0, 1.0]), atol=0.01, rtol=0)
    torch.testing.assert_close(found.std((1, 2, 3)), torch.tensor([0.01, 0.01, 100.0]), atol=0, rtol=0.1)
