import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.evaluation.fidelity import image_distance, measure_fidelity
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.workflows.convert import convert

THOROUGH = CalibrationSpec(energy=0, states=88, positions=256, sampler_steps=3)
QUICK = CalibrationSpec(energy=0, states=28, positions=64, sampler_steps=3)


@pytest.mark.slow
def test_more_time_steps_bring_every_measure_closer(unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
    coarse, fine = (
        measure_fidelity(
            convert(unet, scheduler, spec=SpikeSpec(time_steps=steps), calibration=THOROUGH).unet, scheduler
        )
        for steps in (2, 6)
    )
    assert fine.epsilon_error < 0.6 * coarse.epsilon_error
    assert all(after.epsilon_error < before.epsilon_error
               for before, after in zip(coarse.strata, fine.strata, strict=True))  # fmt: skip
    assert all(after.correlation >= before.correlation - 1e-3
               for before, after in zip(coarse.sites, fine.sites, strict=True))  # fmt: skip
    assert all(0.9 < site.correlation <= 1 + 1e-6 for site in fine.sites)


def test_strata_cover_all_diffusion_timesteps_and_the_totals_lie_between_them(
    unet: UNet2DModel, scheduler: DDPMScheduler
) -> None:
    found = measure_fidelity(convert(unet, scheduler, calibration=QUICK).unet, scheduler)
    assert found.strata[0].start == 0
    assert found.strata[-1].stop == 1000
    assert all(one.stop == next_one.start for one, next_one in zip(found.strata, found.strata[1:], strict=False))
    errors = [stratum.epsilon_error for stratum in found.strata]
    assert min(errors) < found.epsilon_error < max(errors)
    low = [stratum.epsilon_error for stratum in found.strata if stratum.stop <= 50]
    assert min(low) <= found.epsilon_error_low_noise <= max(low)


def test_a_firing_rate_is_spikes_over_firing_steps(unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
    found = measure_fidelity(convert(unet, scheduler, calibration=QUICK).unet, scheduler)
    for site, fired in zip(found.sites, found.costs.sites, strict=True):
        assert site.name == fired.name
        assert site.firing_rate * fired.firing_steps == pytest.approx(fired.spikes_per_neuron)
    assert found.firing_rate == pytest.approx(1 - found.costs.activation_sparsity)


def test_the_same_seed_gives_the_same_figures(unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
    snn = convert(unet, scheduler, calibration=QUICK).unet
    first, again, other = (measure_fidelity(snn, scheduler, seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_images_are_compared_in_pairs() -> None:
    images = torch.randint(0, 256, (3, 1, 16, 16), dtype=torch.uint8)
    same = image_distance(images, images)
    assert (same.psnr, same.ssim) == (100, pytest.approx(1))
    noisy = (images.int() + torch.where(torch.rand(images.shape) < 0.5, 8, -8)).clamp(0, 255).to(torch.uint8)
    far = image_distance(images, images.roll(1, 0))
    near = image_distance(images, noisy)
    assert near.psnr == pytest.approx(20 * torch.log10(torch.tensor(255 / 8)).item(), abs=0.5)
    assert far.psnr < near.psnr < 100
    assert far.ssim < near.ssim < 1


def test_images_smaller_than_the_usual_window_can_be_compared() -> None:
    images = torch.randint(0, 256, (2, 3, 6, 6), dtype=torch.uint8)
    assert image_distance(images, images).ssim == pytest.approx(1)
