import pytest
import torch
from torch import Tensor, nn

from ann2snn_diffusion.spiking.corrected import Corrected, CorrectedConv2d, CorrectedLinear
from ann2snn_diffusion.spiking.forward_pass import ForwardPass, running
from ann2snn_diffusion.spiking.layers import SpikingConv2d, SpikingLinear, SpikingOutput
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.spec import SpikeSpec
from calibration.correct import apply_delta


@torch.no_grad()
def test_a_correction_counts_for_spikes_and_not_for_the_ann(generator: torch.Generator) -> None:
    tokens = torch.randn(2, 7, 3, generator=generator)
    for bias in (True, False):
        linear = nn.Linear(3, 5, bias)
        layer = CorrectedLinear(linear)
        layer.weight_correction.fill_(1)
        if bias:
            assert layer.bias_correction is not None
            layer.bias_correction.fill_(2)
        expected = linear(tokens) + tokens.sum(-1, keepdim=True) + 2 * bias
        torch.testing.assert_close(layer(tokens), expected)
        with running(ForwardPass(analog=True)):
            assert torch.equal(layer(tokens), linear(tokens))


def layers() -> dict[str, tuple[Corrected, Tensor]]:
    """Every kind of layer with an input of three rows, whose noise segments are 1, 0, 1."""
    spec = SpikeSpec(segments=(0, 500))
    conv, linear = nn.Conv2d(4, 2, 3, padding=1), nn.Linear(4, 5, bias=False)
    image, tokens = torch.randn(3, 4, 6, 6), torch.randn(3, 7, 4)
    return {
        "convolution": (CorrectedConv2d(conv), image),
        "linear": (CorrectedLinear(linear), tokens),
        "convolution with neurons": (SpikingConv2d(conv, SpikingNeuron(4, True, spec)), image),
        "linear with neurons": (SpikingLinear(linear, SpikingNeuron(4, True, spec, -1)), tokens),
        "output": (SpikingOutput(conv, SpikingNeuron(4, True, spec), image_channels=1), image),
    }


@pytest.mark.parametrize("name", layers())
@torch.no_grad()
def test_what_is_added_to_a_correction_takes_effect_on_what_the_weights_received(name: str) -> None:
    layer, value = layers()[name]
    segment = torch.tensor([1, 0, 1])
    with running(ForwardPass(segment=segment, image=torch.randn(3, 1, 6, 6))):
        before = layer(value)
        received = layer.received(value if layer.encoder is None else layer.encoder(value))
        for part in layer.corrections(strength=1e-3, positions=64):
            rows = slice(None) if part.segment is None else segment == part.segment
            weight, bias = torch.randn_like(part.weight), torch.randn(len(part.weight))
            part.add(weight, bias)
            before[rows] += apply_delta(part.linear, received[rows], weight, None if part.bias is None else bias)
        torch.testing.assert_close(layer(value), before)
        assert {name for name, _ in layer.named_parameters()} >= {
            name for name in layer.own_parameters if getattr(layer, name) is not None
        }
