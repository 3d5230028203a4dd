import math

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.site_statistics import compare
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training import losses


def test_distillation_counts_a_halved_error_the_same_wherever_it_is(generator: torch.Generator) -> None:
    target = torch.randn(2, 1, 4, 4, generator=generator)
    small, large = torch.tensor([0.01, 0.5]).view(2, 1, 1, 1), torch.tensor([1.0, 0.5]).view(2, 1, 1, 1)
    noise = torch.ones(2, 1, 4, 4)
    start = losses.distill(target + small * noise, target)
    first = losses.distill(target + small * torch.tensor([0.5, 1]).view(2, 1, 1, 1) * noise, target)
    second = losses.distill(target + small * torch.tensor([1, 0.5]).view(2, 1, 1, 1) * noise, target)
    torch.testing.assert_close(first, second)
    assert (start - first).item() == pytest.approx(math.log(4) / 2, rel=1e-3)
    assert losses.distill(target + large * noise, target) > start


def test_distillation_of_equals_is_finite(generator: torch.Generator) -> None:
    target = torch.randn(2, 1, 4, 4, generator=generator)
    assert torch.isfinite(losses.distill(target, target))


def test_the_blockwise_loss_is_the_mean_relative_error_of_blocks() -> None:
    expected = {"first": torch.full((2, 2), 2.0), "second": torch.full((3,), 10.0)}
    found = {"first": torch.full((2, 2), 3.0), "second": torch.full((3,), 10.0)}
    assert losses.blockwise(found, expected).item() == pytest.approx(0.125)


def test_every_block_hands_on_what_the_ann_does_in_analog_mode(unet: UNet2DModel) -> None:
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(0,)))
    state, timestep = torch.randn(2, 1, 8, 8), torch.tensor([10, 700])
    with torch.no_grad(), losses.block_outputs(unet) as expected:
        unet(state, timestep)
    with torch.no_grad(), analog(snn), losses.block_outputs(snn) as found:
        snn(state, timestep)
    assert set(expected) == {"down_blocks.0", "down_blocks.1", "mid_block", "up_blocks.0", "up_blocks.1"}
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert losses.blockwise(found, expected) == 0


@pytest.mark.parametrize("schedule", ["layerwise", "synchronous"])
def test_firing_rates_are_those_of_the_report_and_fall_with_their_gradient(unet: UNet2DModel, schedule: str) -> None:
    coding = "rate" if schedule == "synchronous" else "radix"
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec(schedule=schedule, coding=coding, segments=(0,)))  # pyright: ignore
    state, timestep = torch.randn(4, 1, 8, 8), torch.tensor([10, 700, 20, 400])
    with losses.firing_rates(snn) as rates:
        snn(state, timestep)
    found = compare(snn, DDPMScheduler(), NoisyStates(state, timestep, None))
    reported = {site.name: site.firing_rate for site in found.sites}
    assert {name: rates[neuron].item() for name, neuron in snn.neurons().items()} == pytest.approx(reported)
    before = torch.stack(list(rates.values())).mean()
    before.backward()
    with torch.no_grad():
        for parameter in snn.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
    with torch.no_grad(), losses.firing_rates(snn) as after:
        snn(state, timestep)
    assert torch.stack(list(after.values())).mean() < before


def test_the_denoising_loss_is_the_mean_square() -> None:
    assert losses.denoise(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])).item() == pytest.approx(2.5)
    assert DDPMScheduler().config["prediction_type"] == "epsilon"
