import torch
from diffusers.models.upsampling import Upsample2D
from torch import nn

from ann2snn_diffusion.spiking.layers import (
    CorrectedLinear,
    SpikingConv2d,
    SpikingLinear,
    SpikingOutput,
    SpikingUpsample2D,
)
from ann2snn_diffusion.spiking.neuron import ForwardPass, SpikingNeuron
from ann2snn_diffusion.spiking.spec import SpikeSpec


@torch.no_grad()
def test_spiking_layers_weigh_spikes_and_keep_parameters_and_names(generator: torch.Generator) -> None:
    spec, forward_pass = SpikeSpec(segments=(0,)), ForwardPass()
    conv, linear = nn.Conv2d(3, 5, 3, stride=2, padding=1, bias=False), nn.Linear(3, 5)
    spiking_conv = SpikingConv2d(conv, SpikingNeuron(3, True, spec, forward_pass))
    spiking_linear = SpikingLinear(linear, SpikingNeuron(3, True, spec, forward_pass, -1))
    image, tokens = torch.randn(2, 3, 8, 8, generator=generator), torch.randn(2, 7, 3, generator=generator)
    assert torch.equal(spiking_conv(image), conv(spiking_conv.neuron(image)))
    assert torch.equal(spiking_linear(tokens), linear(spiking_linear.neuron(tokens)))
    assert set(conv.state_dict()) < set(spiking_conv.state_dict())
    assert spiking_conv.weight is conv.weight


@torch.no_grad()
def test_a_correction_counts_for_spikes_and_not_for_the_ann(generator: torch.Generator) -> None:
    forward_pass = ForwardPass()
    tokens = torch.randn(2, 7, 3, generator=generator)
    for bias in (True, False):
        linear = nn.Linear(3, 5, bias)
        layer = CorrectedLinear(linear, forward_pass)
        layer.weight_correction.fill_(1)
        if bias:
            assert layer.bias_correction is not None
            layer.bias_correction.fill_(2)
        expected = linear(tokens) + tokens.sum(-1, keepdim=True) + 2 * bias
        torch.testing.assert_close(layer(tokens), expected)
        forward_pass.analog = True
        assert torch.equal(layer(tokens), linear(tokens))
        forward_pass.analog = False


@torch.no_grad()
def test_upsampling_spikes_before_or_after_interpolation_is_the_same(generator: torch.Generator) -> None:
    neuron = SpikingNeuron(3, True, SpikeSpec(segments=(0,)), ForwardPass())
    stock = Upsample2D(3, use_conv=True)
    image = torch.randn(2, 3, 4, 6, generator=generator)
    conv = stock.conv
    assert isinstance(conv, nn.Conv2d)
    late = conv(neuron(nn.functional.interpolate(image, scale_factor=2.0)))
    assert torch.equal(SpikingUpsample2D(stock, neuron)(image), late)


def test_the_output_adds_the_correction_of_each_row_s_noise_segment_to_spikes_and_image(
    generator: torch.Generator,
) -> None:
    conv = nn.Conv2d(4, 2, 3, padding=1)
    forward_pass = ForwardPass()
    neuron = SpikingNeuron(4, True, SpikeSpec(segments=(0, 100, 500)), forward_pass)
    layer = SpikingOutput(conv, neuron, image_channels=1)
    for parameter in (layer.weight_correction, layer.bias_correction):
        parameter.data = torch.randn(parameter.shape, generator=generator)
    value, image = torch.randn(3, 4, 6, 6, generator=generator), torch.randn(3, 1, 6, 6, generator=generator)
    forward_pass.image, forward_pass.segment = image, torch.tensor([2, 0, 1])
    with torch.no_grad():
        output, spikes = layer(value), neuron(value)
        for row, segment in enumerate((2, 0, 1)):
            received = torch.cat([spikes[row], image[row]])[None]
            weight, bias = layer.weight_correction[segment], layer.bias_correction[segment]
            expected = conv(spikes[row][None]) + nn.functional.conv2d(received, weight, bias, padding=1)
            torch.testing.assert_close(output[row], expected[0])
        forward_pass.analog = True
        assert torch.equal(layer(value), conv(value))
