"""How many spikes a network emits."""

from __future__ import annotations

import torch
from torch import Tensor

from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration.observe import After, visiting


@torch.no_grad()
def spikes_per_image(
    unet: SpikingUNet2DModel, states: Tensor, diffusion_timesteps: Tensor, class_labels: Tensor | None = None
) -> float:
    """Spikes of either sign per image and forward pass, all sites together, mean over states [N, C, H, W]."""
    counts: list[float] = []

    def count(neuron: SpikingNeuron) -> After:
        return lambda value, _output: counts.append(neuron.spikes(value).abs().sum().item())

    with visiting(after=[(neuron, count(neuron)) for neuron in unet.neurons().values()]):
        unet(states, diffusion_timesteps, class_labels)
    return sum(counts) / len(states)
