"""Of one forward pass of one image: which synapses there are, how large, and which neurons' spikes they receive.

What is driven by spikes are layers that call themselves `Corrected`, a user's rule's too, and the products of
`SpikingAttnProcessor`; all others stay analog.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.element_wise import ElementWise, element_wise_visits, work_of
from ann2snn_diffusion.evaluation.fan_out import fan_out, fan_out_before
from ann2snn_diffusion.spiking.corrected import Corrected
from ann2snn_diffusion.spiking.layers import SpikingAttnProcessor, SpikingOutput
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.rules import named_by
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration.observe import visiting


@dataclass(frozen=True)
class Synapse:
    """One layer with weights, one attention product, or the noisy image's way to the output."""

    name: str
    operations: int
    """Multiply-accumulates of one image if all inputs are dense, padding included, as the literature counts."""
    inputs: int
    weights: int
    """Of a product: values of the other factor."""
    outputs: int
    fan_out: Mapping[str, Tensor]
    """By name of the neuron whose spikes it receives: synapses that each reaches. Empty: it stays analog."""
    seen: tuple[str, Tensor] | None = None
    """Name of the module whose input, in the ANN, is that of this synapse; synapses that each value of it reaches."""
    product: bool = False
    in_ann: bool = True
    runs: int = 1
    """How often an SNN computes it in one forward pass where it stays analog."""


@dataclass(frozen=True)
class Population:
    """The neurons of one site."""

    size: int
    """Membranes; a pair for both signs, or two that take turns, are one."""
    firing_steps: int
    """Of each membrane in one forward pass."""
    charges: int
    """Multiply-accumulates that charge them in one forward pass; see `element_wise`."""


@dataclass(frozen=True)
class NetworkLayout:
    """All that does not depend on what is fed in, in the order of execution."""

    synapses: tuple[Synapse, ...]
    populations: Mapping[str, Population]
    element_wise: tuple[ElementWise, ...]
    """What lies between synapses in the ANN."""
    ticks: int
    """How often an SNN does this work: T in the synchronous schedule, else once."""
    footprint: int
    """Bytes of all parameters and buffers, corrections included."""


def layout_of(unet: SpikingUNet2DModel, state: NoisyStates) -> NetworkLayout:
    """The layout of a network, from one pass of one noisy state."""
    spec = unet.spec
    ticks = spec.time_steps if spec.schedule == "synchronous" else 1
    survey = _Survey(unet, ticks)
    elements: dict[str, int] = {}
    with (
        unet.mode.passing(),
        torch.enable_grad(),
        visiting(after=survey.visits() + element_wise_visits(unet, elements)),
    ):
        unet(*state.arguments())
    return NetworkLayout(tuple(survey.synapses), survey.populations, work_of(elements), ticks, footprint(unet))


def footprint(unet: SpikingUNet2DModel) -> int:
    """Bytes of all parameters and buffers, corrections included."""
    return sum(tensor.numel() * tensor.element_size() for tensor in (*unet.parameters(), *unet.buffers()))


class _Survey:
    """What a pass tells; every site and every synapse cuts the graph of gradients, so that none goes past another."""

    def __init__(self, unet: SpikingUNet2DModel, ticks: int) -> None:
        self.unet, self.ticks = unet, ticks
        self.names: dict[SpikingNeuron, str] = {neuron: name for name, neuron in unet.neurons().items()}
        self.emitted: dict[str, Tensor] = {}
        self.synapses: list[Synapse] = []
        self.populations: dict[str, Population] = {}

    def visits(self) -> list[Any]:
        modules = dict(self.unet.named_modules())
        return (
            [(neuron, partial(self._emit, name, neuron)) for neuron, name in self.names.items()]
            + [(module, partial(self._layer, name, module)) for name, module in modules.items()
               if isinstance(module, nn.Conv2d | nn.Linear)]
            + [(module, partial(self._products, name, module)) for name, module in modules.items()
               if isinstance(module, Attention)]
        )  # fmt: skip

    def _emit(self, name: str, neuron: SpikingNeuron, _value: Tensor, output: Tensor) -> Tensor:
        size = output[0].numel()
        leaks = neuron.leak is not None and neuron.leak.item() != 1
        charges = size * self.ticks * (2 if leaks else 1)
        self.populations[name] = Population(size, len(neuron.weights), charges)
        self.emitted[name] = output.detach().requires_grad_()
        return self.emitted[name]

    def _layer(self, name: str, layer: nn.Conv2d | nn.Linear, value: Tensor, output: Tensor) -> Tensor:
        weight = layer.in_force()[0][0, :, : layer.in_channels] if isinstance(layer, SpikingOutput) else layer.weight
        positions = output[0].numel() // len(weight)
        reached = fan_out(layer, value.shape)
        runs = self.ticks if named_by(name, self.unet.spec.keep) else 1
        self.synapses.append(
            Synapse(
                name, positions * weight.numel(), value[0].numel(), weight.numel(), output[0].numel(),
                self._spikes_at(layer, value, reached), (name, reached), runs=runs,
            )
        )  # fmt: skip
        if isinstance(layer, SpikingOutput):
            self.synapses.append(_image_way(name, layer, value, output))
        return output.detach()

    def _spikes_at(self, layer: nn.Module, value: Tensor, reached: Tensor) -> dict[str, Tensor]:
        if not isinstance(layer, Corrected):
            return {}
        if layer.encoder is not None:
            return {self.names[layer.encoder]: reached}
        before = {name: fan_out_before(value, emitted, reached) for name, emitted in self.emitted.items()}
        return {name: found for name, found in before.items() if found is not None}

    def _products(self, name: str, attention: Attention, _value: Tensor, output: Tensor) -> None:
        tokens, width = output.shape[-2] * output.shape[-1], attention.inner_kv_dim
        scores, reached = attention.heads * tokens**2, torch.full((1, 1, 1), tokens, dtype=torch.float64)
        runs = self.ticks if named_by(name, self.unet.spec.keep) else 1
        for product, factor, other, outputs in (
            ("q·kᵀ", "key", tokens * width, scores),
            ("p·v", "value", scores, tokens * width),
        ):
            spikes, seen = {}, None
            if isinstance(attention.processor, SpikingAttnProcessor):
                neuron: SpikingNeuron = getattr(attention.processor, factor)
                spikes, seen = {self.names[neuron]: reached}, (self.names[neuron], reached)
            self.synapses.append(
                Synapse(
                    f"{name}.{product}", tokens**2 * width, tokens * width, other, outputs, spikes, seen,
                    product=True, runs=runs,
                )
            )  # fmt: skip


def _image_way(name: str, layer: SpikingOutput, value: Tensor, output: Tensor) -> Synapse:
    beside = layer.in_force()[0][0, :, layer.in_channels :]
    positions, pixels = output[0].numel() // len(beside), value[0].numel() // layer.in_channels
    return Synapse(
        f"{name}.image", positions * beside.numel(), pixels * beside.shape[1], beside.numel(), output[0].numel(), {},
        in_ann=False,
    )  # fmt: skip
