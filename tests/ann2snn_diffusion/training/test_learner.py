import math

import torch
from diffusers import UNet2DModel

from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.learner import MOVED_ALIKE, ProportionalAdam, learnable
from ann2snn_diffusion.training.spec import TrainingSpec


def test_thresholds_move_by_shares_of_themselves_and_offsets_move_a_charge_as_far(unet: UNet2DModel) -> None:
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(0,)))
    learnable(snn, "spiking")
    neuron, synapse = snn.neurons()["conv_out.neuron"], snn.synapses()["conv_out"]
    channels = neuron.threshold.shape[1]
    neuron.threshold.data = torch.logspace(-2, 2, channels)[None]
    before, correction = neuron.threshold.detach().clone(), synapse.weight_correction.detach().clone()
    for part in (neuron.threshold, neuron.offset, synapse.weight_correction):
        part.grad = torch.ones_like(part)
    ProportionalAdam(snn, TrainingSpec(learning_rate=1e-4, threshold_learning_rate=1e-2)).step()
    torch.testing.assert_close(neuron.threshold.detach(), before * math.exp(-1e-2))
    unit = before / sum(neuron.weights)
    torch.testing.assert_close(neuron.offset.detach(), -1e-2 * MOVED_ALIKE * unit)
    torch.testing.assert_close(synapse.weight_correction.detach(), correction - 1e-4, rtol=1e-4, atol=1e-7)


def test_what_has_no_gradient_stays_to_the_bit(unet: UNet2DModel) -> None:
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(0,)))
    learnable(snn, "spiking")
    before = {name: part.clone() for name, part in snn.state_dict().items()}
    ProportionalAdam(snn, TrainingSpec()).step()
    assert all(torch.equal(part, before[name]) for name, part in snn.state_dict().items())
