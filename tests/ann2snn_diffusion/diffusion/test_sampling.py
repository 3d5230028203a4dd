import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.diffusion.sampling import Drawing, SamplingError, choose_scheduler, sample


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' UniPC with NumPy 2
@pytest.mark.parametrize("name", ["ddpm", "ddim", "unipcmultistep"])
def test_batch_size_does_not_change_which_images_come_out(unet: UNet2DModel, name: str) -> None:
    scheduler = choose_scheduler(DDPMScheduler(), name)
    whole, parts = (sample(unet, scheduler, Drawing(5, 3, seed=7, batch_size=size)) for size in (5, 2))
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-5)
    assert whole.shape == (5, 1, 8, 8)
    assert whole.min() >= 0
    assert whole.max() <= 1


def test_image_i_is_seeded_by_seed_plus_i(unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
    images = sample(unet, scheduler, Drawing(3, 2, seed=10))
    torch.testing.assert_close(sample(unet, scheduler, Drawing(1, 2, seed=12))[0], images[2], rtol=1e-4, atol=1e-5)


def test_an_unknown_scheduler_is_refused_with_the_known_ones(scheduler: DDPMScheduler) -> None:
    with pytest.raises(SamplingError, match=r"'magic': expected one of .*ddim"):
        choose_scheduler(scheduler, "magic")


def test_images_that_are_not_finite_are_refused(unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
    torch.nn.init.constant_(unet.conv_out.weight, float("nan"))
    with pytest.raises(SamplingError, match="not finite"):
        sample(unet, scheduler, Drawing(1, 1))
