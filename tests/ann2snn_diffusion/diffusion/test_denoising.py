from collections.abc import Callable

import torch
from diffusers import DDPMScheduler, ScoreSdeVeScheduler, UNet2DModel, VQModel

from ann2snn_diffusion.diffusion.denoising import DenoisingSpec, follow
from ann2snn_diffusion.diffusion.sampling import Drawing, choose_scheduler, sample
from ann2snn_diffusion.models.decoder import Decoder
from tests.ann2snn_diffusion.workflows.test_pipelines import BLOCKS

Make = Callable[..., UNet2DModel]


def test_the_last_picture_is_the_image_that_a_sampler_draws(make_unet: Make) -> None:
    unet, scheduler = make_unet(num_class_embeds=4), DDPMScheduler()
    found = follow(unet, scheduler, DenoisingSpec(steps=5, seed=3))
    drawn = sample(unet, choose_scheduler(scheduler, "ddim"), Drawing(1, 5, seed=3))
    torch.testing.assert_close(found.images[-1:], drawn, rtol=1e-4, atol=1e-4)
    assert found.diffusion_timesteps == (800, 600, 400, 200, 0)
    assert found.images.shape == (6, 1, 8, 8)


def test_the_first_picture_is_the_noise_that_drawing_begins_with(unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
    noise = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    found = follow(unet, scheduler, DenoisingSpec(steps=5, seed=3))
    torch.testing.assert_close(found.images[:1], (noise / 2 + 0.5).clamp(0, 1), rtol=1e-3, atol=1e-3)


def test_latents_are_shown_as_the_images_that_they_stand_for(make_unet: Make) -> None:
    decoder = Decoder("vqvae", VQModel(**BLOCKS).eval())
    found = follow(make_unet(in_channels=3, out_channels=3), DDPMScheduler(), DenoisingSpec(steps=2, decode=decoder))
    assert found.images.shape == (3, 3, 16, 16)


def test_noise_far_beyond_the_signal_is_shown_in_its_own_units(make_unet: Make) -> None:
    scheduler = ScoreSdeVeScheduler(num_train_timesteps=100, sigma_max=348.0)
    found = follow(make_unet(time_embedding_type="fourier"), scheduler, DenoisingSpec(steps=4))
    grey = (found.images[0] > 0) & (found.images[0] < 1)
    assert grey.float().mean() > 0.2
