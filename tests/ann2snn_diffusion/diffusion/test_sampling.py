import diffusers
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.utils.import_utils import DummyObject

from ann2snn_diffusion.diffusion.sampling import Drawing, SamplingError, choose_scheduler, sample
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' UniPC with NumPy 2
@pytest.mark.parametrize("name", ["ddpm", "ddim", "unipcmultistep"])
def test_batch_size_does_not_change_which_images_come_out(unet: UNet2DModel, name: str) -> None:
    scheduler = choose_scheduler(DDPMScheduler(), name)
    whole, parts = (sample(unet, scheduler, Drawing(5, 3, seed=7, batch_size=size)) for size in (5, 2))
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-5)
    assert whole.shape == (5, 1, 8, 8)
    assert whole.min() >= 0
    assert whole.max() <= 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' schedulers with NumPy 2
@pytest.mark.parametrize("kind", sorted(kind.__name__ for kind in DDPMScheduler().compatibles))
def test_every_scheduler_that_shares_the_noise_levels_draws_with_a_spiking_network(
    unet: UNet2DModel, scheduler: DDPMScheduler, kind: str
) -> None:
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec(time_steps=2, segments=(0,)))
    if isinstance(getattr(diffusers, kind), DummyObject):
        with pytest.raises(ImportError, match=f"{kind} requires the torchsde library"):
            choose_scheduler(scheduler, kind)
        return
    assert torch.isfinite(sample(snn, choose_scheduler(scheduler, kind), Drawing(2, 4))).all()


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
