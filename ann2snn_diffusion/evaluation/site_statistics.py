"""A spiking network and its ANN on the same inputs: how far every site and the output differ, how much it spikes."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ann2snn_diffusion.common.progress import Advance, idle
from ann2snn_diffusion.diffusion.memory import bytes_per_image, images_at_once
from ann2snn_diffusion.diffusion.noising import predicted_noise
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.network_layout import NetworkLayout, footprint, layout_of
from ann2snn_diffusion.evaluation.spike_count import Counts, SpikeCounter
from ann2snn_diffusion.evaluation.zero_activations import ZeroCounter
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.ticks import value_of
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration.observe import visiting


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
class Comparison:
    """What `compare` found on N states."""

    sites: tuple[SiteReport, ...]
    layout: NetworkLayout
    counts: Counts
    ann_effective: dict[str, Tensor]
    """By synapse, the ANN's multiply-accumulates in int8 that are not by zero, of each state, [N]."""
    errors: Tensor
    """Σ(ε_SNN − ε_ANN)² of each state, [N]."""
    powers: Tensor
    """Σε_ANN² of each state, [N]."""


@torch.no_grad()
def compare(
    unet: SpikingUNet2DModel,
    scheduler: Any,
    states: NoisyStates,
    advance: Advance = idle,
    unfolded: SpikingUNet2DModel | None = None,
) -> Comparison:
    """Run the network as SNN and as ANN on N states, a few at a time.

    Args:
        scheduler: tells which ε it predicts.
        unfolded: what ``unet`` was folded from, and runs as the ANN in its place.
    """
    neurons, whole = unet.neurons(), unfolded or unet
    layout = replace(layout_of(whole, states.part(slice(1))), footprint=footprint(unet))
    counter, zeros = SpikeCounter(layout), ZeroCounter(layout)
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    errors, powers = [], []
    expected: dict[str, Tensor] = {}
    keeping = [(neuron, partial(_keep, expected, name)) for name, neuron in whole.neurons().items()]
    comparing = [
        (neuron, partial(_compare, sums[name], expected, counter, name, neuron)) for name, neuron in neurons.items()
    ]
    # All that neurons receive in the ANN is kept until the SNN has its own.
    kept = 4 * sum(population.size for population in layout.populations.values())
    for some in states.split(images_at_once(unet, 1 + kept / bytes_per_image(unet))):
        of_states = (some.states, some.diffusion_timesteps)
        with analog(whole), visiting(after=keeping + zeros.visits(whole)):
            target = predicted_noise(scheduler, whole(*some.arguments()).sample, *of_states)
        with visiting(after=comparing):
            predicted = predicted_noise(scheduler, unet(*some.arguments()).sample, *of_states)
        errors.append((predicted - target).square().sum((1, 2, 3)).cpu())
        powers.append(target.square().sum((1, 2, 3)).cpu())
        advance(sum(map(len, errors)))
    return Comparison(
        sites=tuple(_site(name, neurons[name], sums[name]) for name in layout.populations),
        layout=layout,
        counts=counter.counts(),
        ann_effective=zeros.effective(),
        errors=torch.cat(errors),
        powers=torch.cat(powers),
    )


def _keep(expected: dict[str, Tensor], name: str, value: Tensor, output: Tensor) -> None:
    del output
    expected[name] = value


def _compare(
    sums: dict[str, float], expected: dict[str, Tensor], counter: SpikeCounter, name: str, neuron: SpikingNeuron,
    value: Tensor, output: Tensor,
) -> None:  # fmt: skip
    target = expected.pop(name)
    unit, offset = neuron.levels(value)
    fired = counter.add(name, neuron, value)
    level = fired.sums
    unit, offset, output = (value_of(part, len(target)) for part in (unit, offset, output))
    lowest, highest = neuron.level_range
    sums["chances"] += len(fired.by_step) * level.numel()
    sums["spikes"] += fired.by_step.sum().item()
    sums["values"] += level.numel()
    sums["saturated"] += ((level <= lowest) | (level >= highest)).sum().item()
    sums["error"] += (output - target).square().sum().item()
    sums["power"] += target.square().sum().item()
    sums["target"] += target.sum().item()
    sums["output"] += output.sum().item()
    sums["output power"] += output.square().sum().item()
    sums["product"] += (output * target).sum().item()
    sums["off_level"] += (((output - offset) / unit - level).abs() > 0.01).sum().item()


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
