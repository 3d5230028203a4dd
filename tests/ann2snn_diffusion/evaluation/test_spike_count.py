from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.network_layout import NetworkLayout, layout_of
from ann2snn_diffusion.evaluation.spike_count import Counts, count_spikes
from ann2snn_diffusion.spiking.corrected import CorrectedConv2d
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration.observe import visiting
from tests.ann2snn_diffusion.evaluation.brute_force import arriving_at, arriving_at_product, doubled_in_size

TINY: dict[str, Any] = {"block_out_channels": (4, 8), "sample_size": 6, "attention_head_dim": 4, "norm_num_groups": 2}
STATES = NoisyStates(torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(1)), torch.tensor([20, 800]), None)


def spiking(unet: UNet2DModel, **spec: Any) -> SpikingUNet2DModel:
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec(**spec)).requires_grad_(False)
    generator = torch.Generator().manual_seed(2)
    for neuron in snn.neurons().values():
        neuron.threshold.copy_(0.5 + 2 * torch.rand(neuron.threshold.shape, generator=generator))
        neuron.offset.copy_(torch.randn(neuron.offset.shape, generator=generator) / 4)
    return snn


@torch.no_grad()
def fired_by(snn: SpikingUNet2DModel) -> dict[str, Tensor]:
    """Spikes of either sign of each site, tick by tick, [T, N, …]."""
    fired: dict[str, Tensor] = {}

    def keep(name: str, neuron: SpikingNeuron) -> Callable[[Tensor, Tensor], None]:
        def visit(value: Tensor, _output: Tensor) -> None:
            fired[name] = neuron.spikes(value).abs().unflatten(0, (snn.spec.time_steps, -1)).sum(1)

        return visit

    with visiting(after=[(neuron, keep(name, neuron)) for name, neuron in snn.neurons().items()]):
        snn(*STATES.arguments())
    return fired


def by_brute_force(snn: SpikingUNet2DModel, fired: dict[str, Tensor], synapse: str, state: int) -> int:
    """Accumulates of a synapse: every spike at every synapse, one by one."""
    if synapse.endswith(("q·kᵀ", "p·v")):
        neuron = f"{synapse.rsplit('.', 1)[0]}.processor.{'key' if synapse.endswith('q·kᵀ') else 'value'}"
        ticks = fired[neuron][:, state]
        if snn.spec.schedule == "layerwise":
            return arriving_at_product(ticks.sum(0))
        return sum(arriving_at_product(ticks[: tick + 1].sum(0)) for tick in range(len(ticks)))
    layer: Any = snn.get_submodule(synapse)
    if f"{synapse}.neuron" in fired:
        return arriving_at(layer, fired[f"{synapse}.neuron"][:, state].sum(0))
    if synapse.endswith(("to_q", "to_k", "to_v")):
        return arriving_at(layer, fired[f"{synapse.rsplit('.', 1)[0]}.processor.tokens"][:, state].sum(0))
    around = synapse.rsplit(".", 1)[0]  # upsampling, then the convolution
    return arriving_at(layer, doubled_in_size(fired[f"{around}.neuron"][:, state].sum(0)))


SPECS: list[dict[str, Any]] = [
    {},
    {"doubled": ("mid_block", "*.upsamplers", "conv_out")},
    {"signed_activations": False, "time_steps": 3},
    {"coding": "ternary", "time_steps": 2},
    {"coding": "rate", "schedule": "synchronous", "doubled": ("conv_out", "*.attentions"), "leak": 0.9},
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_every_spike_at_every_synapse_is_one_accumulate(
    make_unet: Callable[..., UNet2DModel], spec: dict[str, Any]
) -> None:
    snn = spiking(make_unet(**TINY), **spec)
    layout = layout_of(snn, STATES.part(slice(1)))
    counts, fired = count_spikes(snn, layout, STATES), fired_by(snn)
    driven = {synapse.name for synapse in layout.synapses if synapse.fan_out}
    assert set(counts.accumulates) == driven
    assert {name.rsplit(".", 1)[-1] for name in driven} >= {
        "conv1", "conv2", "conv_shortcut", "conv", "conv_out", "to_q", "to_k", "to_v", "0", "q·kᵀ", "p·v",
    }  # fmt: skip
    for name in driven:
        expected = [by_brute_force(snn, fired, name, state) for state in range(2)]
        assert counts.accumulates[name].tolist() == expected, name


@pytest.mark.parametrize("changes", [{"downsample_padding": 0}, {"sample_size": (4, 6)}, {"in_channels": 3}], ids=str)
def test_other_shapes_are_counted_as_exactly(make_unet: Callable[..., UNet2DModel], changes: dict[str, Any]) -> None:
    snn = spiking(make_unet(**TINY | changes))
    size = changes.get("sample_size", (6, 6))
    states = NoisyStates(torch.randn(1, changes.get("in_channels", 1), *size), torch.tensor([500]), None)
    layout = layout_of(snn, states)
    trains: dict[str, Tensor] = {}
    neurons = snn.neurons()
    with visiting(
        before=[(neuron, lambda value, name=name, neuron=neuron: trains.update({name: neuron.spikes(value)}))
                for name, neuron in neurons.items()]
    ):  # fmt: skip
        counts = count_spikes(snn, layout, states)
    for name in ("down_blocks.0.downsamplers.0.conv", "down_blocks.0.resnets.0.conv1", "conv_out"):
        layer: Any = snn.get_submodule(name)
        expected = arriving_at(layer, trains[f"{name}.neuron"].abs().sum(0)[0])
        assert counts.accumulates[name].tolist() == [expected], name


class CopyThenConvolve(nn.Module):
    """A user's layer: one neuron before copies of its spikes, and a convolution of them without one of its own."""

    def __init__(self, snn: SpikingUNet2DModel, conv: CorrectedConv2d) -> None:
        super().__init__()
        self.synapse = conv
        self.encoder = SpikingNeuron(conv.in_channels, True, snn.spec)

    def forward(self, hidden_states: Tensor, output_size: Any = None) -> Tensor:
        return self.synapse(self.encoder(hidden_states).repeat_interleave(2, -1).repeat_interleave(2, -2))


@torch.no_grad()
def test_spikes_of_a_users_own_layer_are_counted_through_copies(make_unet: Callable[..., UNet2DModel]) -> None:
    snn = spiking(make_unet(**TINY))
    stock: Any = snn.get_submodule("up_blocks.0.upsamplers.0")
    snn.up_blocks[0].upsamplers[0] = CopyThenConvolve(snn, stock.conv)  # pyright: ignore
    counts, fired = count_spikes(snn, layout_of(snn, STATES.part(slice(1))), STATES), fired_by(snn)
    trains = fired["up_blocks.0.upsamplers.0.encoder"].sum(0)
    expected = [arriving_at(stock.conv, doubled_in_size(trains[state])) for state in range(2)]
    assert counts.accumulates["up_blocks.0.upsamplers.0.synapse"].tolist() == expected


def counted(make_unet: Callable[..., UNet2DModel], **spec: Any) -> tuple[SpikingUNet2DModel, NetworkLayout, Counts]:
    snn = spiking(make_unet(**TINY), **spec)
    layout = layout_of(snn, STATES.part(slice(1)))
    return snn, layout, count_spikes(snn, layout, STATES)


def test_trains_and_time_steps_tell_of_the_same_spikes(make_unet: Callable[..., UNet2DModel]) -> None:
    snn, layout, counts = counted(make_unet, doubled=("conv_out",))
    fired = fired_by(snn)
    for name, trains in counts.trains.items():
        lengths = torch.arange(trains.shape[1]).double()
        assert torch.equal(trains @ lengths, counts.spikes[name].sum(0)), name
        assert trains.sum(1).tolist() == [layout.populations[name].size] * 2
        assert torch.equal(counts.spikes[name], fired[name].flatten(2).sum(2).double())
    assert counts.trains["conv_out.neuron"].shape[1] == 9
    total = sum(spikes.sum().item() for spikes in counts.spikes.values())
    assert counts.spikes_per_image() == pytest.approx(total / 2)


def test_states_counted_in_parts_are_those_counted_at_once(make_unet: Callable[..., UNet2DModel]) -> None:
    snn, layout, counts = counted(make_unet)
    for row in range(2):
        one = count_spikes(snn, layout, STATES.part(slice(row, row + 1)))
        assert one.accumulates["conv_out"].item() == counts.accumulates["conv_out"][row].item()


def test_the_raster_holds_spikes_with_their_sign(make_unet: Callable[..., UNet2DModel]) -> None:
    _, _, counts = counted(make_unet)
    assert all(spikes.shape[0] == 4 for spikes in counts.raster.values())
    found = torch.cat([spikes.flatten() for spikes in counts.raster.values()])
    assert set(found.unique().tolist()) == {-1, 0, 1}
