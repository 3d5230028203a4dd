import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.network_layout import NetworkLayout, layout_of
from ann2snn_diffusion.spiking.corrected import CorrectedConv2d
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

STATE = NoisyStates(torch.randn(1, 1, 8, 8), torch.tensor([500]), None)
SYNCHRONOUS = {"coding": "rate", "schedule": "synchronous"}


def layout(unet: UNet2DModel, **spec: Any) -> NetworkLayout:
    return layout_of(SpikingUNet2DModel.from_unet(unet, SpikeSpec(**spec)), STATE)


def test_what_stays_analog_is_told_from_what_is_driven_by_spikes(unet: UNet2DModel) -> None:
    analog = {synapse.name for synapse in layout(unet).synapses if not synapse.fan_out}
    assert all(name in ("conv_in", "conv_out.image") or "time_emb" in name for name in analog)
    kept = layout(unet, keep=("mid_block", "conv_out"))
    stays = {synapse.name for synapse in kept.synapses if not synapse.fan_out} - analog
    asked = [one.name for one in kept.synapses if one.name.startswith(("mid_block.", "conv_out"))]
    assert stays == {name for name in asked if "time_emb" not in name}
    assert "mid_block.attentions.0.q·kᵀ" in stays


def test_what_is_kept_analog_runs_at_every_tick_and_the_constant_input_once(unet: UNet2DModel) -> None:
    runs = {synapse.name: synapse.runs for synapse in layout(unet, keep=("mid_block",), **SYNCHRONOUS).synapses}
    assert runs["mid_block.resnets.0.conv1"] == runs["mid_block.attentions.0.p·v"] == 4
    assert runs["conv_in"] == runs["conv_out.image"] == 1


class TwoInARow(nn.Module):
    """A user's layer whose second convolution has no neuron between itself and the first."""

    def __init__(self, snn: SpikingUNet2DModel, conv: nn.Conv2d) -> None:
        super().__init__()
        self.neuron = SpikingNeuron(conv.in_channels, True, snn.spec)
        self.first, self.second = CorrectedConv2d(conv), CorrectedConv2d(conv)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.second(self.first(self.neuron(hidden_states)))


def test_no_spike_goes_past_a_synapse(unet: UNet2DModel) -> None:
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec())
    resnet: Any = snn.get_submodule("mid_block.resnets.0")
    resnet.conv2 = TwoInARow(snn, nn.Conv2d(16, 16, 3, padding=1))
    found = {synapse.name: set(synapse.fan_out) for synapse in layout_of(snn, STATE).synapses}
    assert found["mid_block.resnets.0.conv2.first"] == {"mid_block.resnets.0.conv2.neuron"}
    assert found["mid_block.resnets.0.conv2.second"] == set()


def test_three_layers_share_the_tokens_spikes(unet: UNet2DModel) -> None:
    tokens = "mid_block.attentions.0.processor.tokens"
    found = [synapse.name for synapse in layout(unet).synapses if tokens in synapse.fan_out]
    assert found == [f"mid_block.attentions.0.to_{part}" for part in "qkv"]


def test_sizes_are_those_of_one_image(unet: UNet2DModel) -> None:
    found = layout(unet, doubled=("conv_out",))
    sizes = {synapse.name: (synapse.inputs, synapse.weights, synapse.outputs) for synapse in found.synapses}
    assert sizes["down_blocks.0.downsamplers.0.conv"] == (8 * 64, 8 * 8 * 9, 8 * 16)
    assert sizes["up_blocks.0.upsamplers.0.conv"] == (16 * 64, 16 * 16 * 9, 16 * 64)
    assert sizes["mid_block.attentions.0.q·kᵀ"] == (16 * 16, 16 * 16, 2 * 16 * 16)
    assert sizes["conv_out.image"] == (64, 9, 64)
    population = found.populations["conv_out.neuron"]
    assert (population.size, population.firing_steps, population.charges) == (8 * 64, 8, 8 * 64)


@pytest.mark.parametrize(("leak", "charges"), [(1.0, 4), (0.9, 8)])
def test_neurons_that_tick_are_charged_at_every_tick(unet: UNet2DModel, leak: float, charges: int) -> None:
    population = layout(unet, leak=leak, **SYNCHRONOUS).populations["conv_out.neuron"]
    assert population.charges == charges * population.size


def test_a_layout_does_not_hold_its_network(unet: UNet2DModel) -> None:
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec())
    gone, found = weakref.ref(snn.get_submodule("conv_out")), layout_of(snn, STATE)
    del snn
    gc.collect()
    assert found.synapses
    assert gone() is None


def test_no_gradient_and_no_hook_is_left_behind(make_unet: Callable[..., UNet2DModel]) -> None:
    snn = SpikingUNet2DModel.from_unet(make_unet(), SpikeSpec())
    with torch.no_grad():
        before = snn(*STATE.arguments()).sample
        layout_of(snn, STATE)
        assert torch.equal(snn(*STATE.arguments()).sample, before)
    assert all(parameter.grad is None for parameter in snn.parameters())
    assert all(not module._forward_hooks for module in snn.modules())
