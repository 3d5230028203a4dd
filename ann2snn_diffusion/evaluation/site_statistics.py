"""A spiking network and its ANN on the same inputs: how far every site and the output differ, how much it spikes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from ann2snn_diffusion.spiking.layers import SpikingAttnProcessor, SpikingOutput
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.ticks import value_of
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel, analog
from calibration.observe import visiting

STATES_AT_A_TIME = 16


@dataclass(frozen=True)
class SiteReport:
    """One population of neurons."""

    name: str
    signed: bool
    doubled: bool
    """Two neurons take turns on each membrane."""
    threshold: tuple[float, float]
    """Smallest and largest θ over channels and segments."""
    offset: tuple[float, float]
    """Smallest and largest offset."""
    firing_rate: float
    """Spikes of either sign per neuron and time step, 0 … 1."""
    saturation: float
    """Share of neurons at their lowest or highest level, 0 … 1."""
    error: float
    """Σ(SNN − ANN)² / ΣANN² of the value that the site hands on."""
    correlation: float
    """Pearson correlation of that value between SNN and ANN, −1 … 1."""
    off_level: float
    """Share of emitted values that are not offset + unit · Σ W·s of their counted spikes: rounding ties only."""


@dataclass(frozen=True)
class SynapseReport:
    """One layer with weights, or one attention product."""

    name: str
    driven_by: str
    """``spikes`` or ``analog``."""
    operations: int
    """Multiply-accumulates of the ANN per image and forward pass."""


@dataclass(frozen=True)
class Comparison:
    """What `compare` found on N states."""

    sites: tuple[SiteReport, ...]
    synapses: tuple[SynapseReport, ...]
    firing_rate: float
    """Mean over all neurons and time steps."""
    errors: Tensor
    """Σ(ε_SNN − ε_ANN)² of each state, [N]."""
    powers: Tensor
    """Σε_ANN² of each state, [N]."""


@torch.no_grad()
def compare(
    unet: SpikingUNet2DModel,
    states: Tensor,
    diffusion_timesteps: Tensor,
    class_labels: Tensor | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Comparison:
    """Run the network as SNN and as ANN on states [N, C, H, W] at diffusion timesteps [N], a few at a time."""
    neurons = unet.neurons()
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    errors, powers = [], []
    labels = [None] * len(states) if class_labels is None else class_labels.split(STATES_AT_A_TIME)
    operations: dict[str, int] = {}
    order: list[str] = []
    for state, diffusion_timestep, label in zip(
        states.split(STATES_AT_A_TIME), diffusion_timesteps.split(STATES_AT_A_TIME), labels, strict=False
    ):
        expected: dict[str, Tensor] = {}
        with (
            analog(unet),
            visiting(after=[(neuron, partial(_keep, expected, name)) for name, neuron in neurons.items()]),
        ):
            target = unet(state, diffusion_timestep, label).sample
        order = list(expected)
        with visiting(
            after=[(neuron, partial(_compare, sums[name], expected, name, neuron)) for name, neuron in neurons.items()]
            + _counting(unet, operations)
        ):
            predicted = unet(state, diffusion_timestep, label).sample
        errors.append((predicted - target).square().sum((1, 2, 3)).cpu())
        powers.append(target.square().sum((1, 2, 3)).cpu())
        advance()
    total = {key: sum(site[key] for site in sums.values()) for key in ("spikes", "chances")}
    return Comparison(
        sites=tuple(_site(name, neurons[name], sums[name]) for name in order),
        synapses=tuple(_synapse_report(unet, name, count) for name, count in operations.items()),
        firing_rate=total["spikes"] / max(1.0, total["chances"]),
        errors=torch.cat(errors),
        powers=torch.cat(powers),
    )


def _keep(expected: dict[str, Tensor], name: str, value: Tensor, output: Tensor) -> None:
    del output
    expected[name] = value


def _compare(
    sums: dict[str, float], expected: dict[str, Tensor], name: str, neuron: SpikingNeuron, value: Tensor, output: Tensor
) -> None:
    target = expected.pop(name)
    unit, offset = neuron.levels(value)
    spikes = neuron.spikes(value)
    level = neuron.weigh(spikes).sum(0)
    unit, offset, output = (value_of(part, len(target)) for part in (unit, offset, output))
    lowest, highest = neuron.level_range
    sums["spikes"] += spikes.abs().sum().item()
    sums["chances"] += spikes.numel()
    sums["values"] += level.numel()
    sums["saturated"] += ((level <= lowest) | (level >= highest)).sum().item()
    sums["error"] += (output - target).square().sum().item()
    sums["power"] += target.square().sum().item()
    sums["target"] += target.sum().item()
    sums["output"] += output.sum().item()
    sums["output power"] += output.square().sum().item()
    sums["product"] += (output * target).sum().item()
    sums["off_level"] += (((output - offset) / unit - level).abs() > 0.01).sum().item()


def _counting(unet: SpikingUNet2DModel, operations: dict[str, int]) -> list[Any]:
    """Visitors that count the multiply-accumulates of one image in every layer with weights and attention product."""

    def weighted(name: str, layer: nn.Conv2d | nn.Linear, _value: Tensor, output: Tensor) -> None:
        positions = output[0].numel() // len(layer.weight)
        operations[name] = positions * layer.weight.numel()
        if isinstance(layer, SpikingOutput):
            beside = layer.weight_correction[0, :, layer.in_channels :]
            operations[f"{name}.image"] = positions * beside.numel()

    def products(name: str, _value: Tensor, output: Tensor) -> None:
        tokens = output.shape[-2] * output.shape[-1]
        inner = attentions[name].inner_kv_dim
        operations[f"{name}.q·kᵀ"] = operations[f"{name}.p·v"] = tokens * tokens * inner

    attentions = {name: module for name, module in unet.named_modules() if isinstance(module, Attention)}
    layers = {name: module for name, module in unet.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    return [(layer, partial(weighted, name, layer)) for name, layer in layers.items()] + [
        (attention, partial(products, name)) for name, attention in attentions.items()
    ]


def _site(name: str, neuron: SpikingNeuron, sums: dict[str, float]) -> SiteReport:
    return SiteReport(
        name=name,
        signed=neuron.signed,
        doubled=neuron.doubled,
        threshold=(neuron.threshold.min().item(), neuron.threshold.max().item()),
        offset=(neuron.offset.min().item(), neuron.offset.max().item()),
        firing_rate=sums["spikes"] / sums["chances"],
        saturation=sums["saturated"] / sums["values"],
        error=sums["error"] / max(sums["power"], 1e-12),
        correlation=_correlation(sums),
        off_level=sums["off_level"] / sums["values"],
    )


def _correlation(sums: dict[str, float]) -> float:
    count, target, output = sums["values"], sums["target"], sums["output"]
    spreads = (sums["power"] - target**2 / count) * (sums["output power"] - output**2 / count)
    return (sums["product"] - target * output / count) / math.sqrt(max(spreads, 1e-24))


def _synapse_report(unet: SpikingUNet2DModel, name: str, operations: int) -> SynapseReport:
    driven = name in unet.synapses()
    if name.endswith(("·kᵀ", "·v")):
        attention = unet.get_submodule(name.rsplit(".", 1)[0])
        driven = isinstance(attention.processor, SpikingAttnProcessor)
    return SynapseReport(name, "spikes" if driven else "analog", operations)
