import torch
from diffusers.models.upsampling import Upsample2D
from torch import nn

from ann2snn_diffusion.spiking.forward_pass import ForwardPass, running
from ann2snn_diffusion.spiking.layers import SpikingConv2d, SpikingLinear, SpikingOutput, SpikingUpsample2D
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.spec import SpikeSpec


@torch.no_grad()
def test_spiking_layers_weigh_spikes_and_keep_parameters_and_names(generator: torch.Generator) -> None:
    spec = SpikeSpec(segments=(0,))
    conv, linear = nn.Conv2d(3, 5, 3, stride=2, padding=1, bias=False), nn.Linear(3, 5)
    spiking_conv = SpikingConv2d(conv, SpikingNeuron(3, True, spec))
    spiking_linear = SpikingLinear(linear, SpikingNeuron(3, True, spec, -1))
    image, tokens = torch.randn(2, 3, 8, 8, generator=generator), torch.randn(2, 7, 3, generator=generator)
    assert torch.equal(spiking_conv(image), conv(spiking_conv.neuron(image)))
    assert torch.equal(spiking_linear(tokens), linear(spiking_linear.neuron(tokens)))
    assert set(conv.state_dict()) < set(spiking_conv.state_dict())
    assert spiking_conv.weight is conv.weight


@torch.no_grad()
def test_upsampling_spikes_before_or_after_interpolation_is_the_same(generator: torch.Generator) -> None:
    neuron = SpikingNeuron(3, True, SpikeSpec(segments=(0,)))
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
    neuron = SpikingNeuron(4, True, SpikeSpec(segments=(0, 100, 500)))
    layer = SpikingOutput(conv, neuron, image_channels=1)
    for parameter in (layer.weight_correction, layer.bias_correction):
        parameter.data = torch.randn(parameter.shape, generator=generator)
    value, image = torch.randn(3, 4, 6, 6, generator=generator), torch.randn(3, 1, 6, 6, generator=generator)
    with torch.no_grad(), running(ForwardPass(segment=torch.tensor([2, 0, 1]), image=image)):
        output, spikes = layer(value), neuron(value)
        for row, segment in enumerate((2, 0, 1)):
            received = torch.cat([spikes[row], image[row]])[None]
            weight, bias = layer.weight_correction[segment], layer.bias_correction[segment]
            expected = conv(spikes[row][None]) + nn.functional.conv2d(received, weight, bias, padding=1)
            torch.testing.assert_close(output[row], expected[0])
    with torch.no_grad(), running(ForwardPass(image=image, analog=True)):
        assert torch.equal(layer(value), conv(value))


def test_where_all_rows_are_in_one_noise_segment_its_correction_alone_is_added(generator: torch.Generator) -> None:
    neuron = SpikingNeuron(4, True, SpikeSpec(segments=(0, 100, 500)))
    layer = SpikingOutput(nn.Conv2d(4, 2, 3, padding=1), neuron, image_channels=1)
    for parameter in (layer.weight_correction, layer.bias_correction):
        parameter.data = torch.randn(parameter.shape, generator=generator)
    value, image = torch.randn(3, 4, 6, 6, generator=generator), torch.randn(3, 1, 6, 6, generator=generator)
    with torch.no_grad():
        with running(ForwardPass(segment=torch.tensor([1, 1, 1]), image=image)):
            each = layer(value)
        layer.weight_correction[[0, 2]] = torch.nan
        with running(ForwardPass(segment=torch.tensor([1]), image=image)):
            torch.testing.assert_close(layer(value), each)
