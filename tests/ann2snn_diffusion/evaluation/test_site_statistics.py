from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.site_statistics import compare
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration.observe import visiting


@torch.no_grad()
def test_figures_of_a_site_are_those_of_its_values_computed_at_once(unet: UNet2DModel) -> None:
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec())
    states, diffusion_timesteps = torch.randn(20, 1, 8, 8), torch.arange(20) * 50
    found = compare(snn, DDPMScheduler(), NoisyStates(states, diffusion_timesteps, None))

    name = "up_blocks.1.resnets.0.conv2.neuron"
    values: list[torch.Tensor] = []
    with visiting(after=[(snn.neurons()[name], lambda _, output: values.append(output))]):
        predicted = snn(states, diffusion_timesteps).sample
        with analog(snn):
            expected = snn(states, diffusion_timesteps).sample
    site = next(site for site in found.sites if site.name == name)
    spiking, analogue = values
    assert site.correlation == pytest.approx(
        torch.corrcoef(torch.stack([spiking, analogue]).flatten(1))[0, 1].item(), rel=1e-4
    )
    relative = (spiking - analogue).square().sum() / analogue.square().sum()
    assert site.error == pytest.approx(relative.item(), rel=1e-4)
    torch.testing.assert_close(found.errors, (predicted - expected).square().sum((1, 2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.powers, expected.square().sum((1, 2, 3)))


@pytest.mark.parametrize("doubled", [(), ("conv_out",)])
@pytest.mark.parametrize("spec", [SpikeSpec(), SpikeSpec(coding="rate", schedule="synchronous")])
@torch.no_grad()
def test_firing_rates_are_counted_spikes_per_neuron_and_time_step(
    unet: UNet2DModel, spec: SpikeSpec, doubled: tuple[str, ...]
) -> None:
    snn = SpikingUNet2DModel.from_unet(unet, replace(spec, doubled=doubled))
    states, diffusion_timesteps = torch.randn(3, 1, 8, 8), torch.tensor([5, 300, 900])
    found = compare(snn, DDPMScheduler(), NoisyStates(states, diffusion_timesteps, None))
    spikes: list[torch.Tensor] = []
    neuron = snn.neurons()["conv_out.neuron"]
    with visiting(before=[(neuron, lambda value: spikes.append(neuron.spikes(value)))]):
        snn(states, diffusion_timesteps)
    site = next(site for site in found.sites if site.name == "conv_out.neuron")
    assert site.firing_rate == pytest.approx(spikes[0].abs().mean().item())


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
@torch.no_grad()
def test_errors_are_those_of_epsilon_whatever_the_network_predicts(unet: UNet2DModel, prediction_type: str) -> None:
    scheduler: Any = DDIMScheduler.from_config({"prediction_type": prediction_type})
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec())
    states, diffusion_timesteps = torch.randn(3, 1, 8, 8), torch.tensor([5, 300, 990])
    found = compare(snn, scheduler, NoisyStates(states, diffusion_timesteps, None))
    signal = scheduler.alphas_cumprod[diffusion_timesteps].view(-1, 1, 1, 1)

    def epsilon(output: torch.Tensor) -> torch.Tensor:
        if prediction_type == "sample":
            return (states - signal.sqrt() * output) / (1 - signal).sqrt()
        return signal.sqrt() * output + (1 - signal).sqrt() * states

    predicted = epsilon(snn(states, diffusion_timesteps).sample)
    with analog(snn):
        expected = epsilon(snn(states, diffusion_timesteps).sample)
    torch.testing.assert_close(found.errors, (predicted - expected).square().sum((1, 2, 3)), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(found.powers, expected.square().sum((1, 2, 3)))
