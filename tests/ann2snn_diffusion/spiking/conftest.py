"""A spiking network with thresholds of its own."""

import pytest
import torch
from diffusers import UNet2DModel

from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel


@pytest.fixture
def spiking(unet: UNet2DModel) -> SpikingUNet2DModel:
    made = SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(0, 500)))
    generator = torch.Generator().manual_seed(2)
    for neuron in made.neurons().values():
        neuron.threshold.data = 1 + torch.rand(neuron.threshold.shape, generator=generator)
    return made.eval()
