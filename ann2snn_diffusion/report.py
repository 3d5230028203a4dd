"""What a conversion did, site by site, measured on states that calibration never saw."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from ann2snn_diffusion.calibrate import synapses
from ann2snn_diffusion.layers import SpikingAttnProcessor
from ann2snn_diffusion.neuron import SpikingNeuron, analog
from ann2snn_diffusion.spec import SpikeSpec
from ann2snn_diffusion.unet import SpikingUNet2DModel
from calibration.observe import visiting

LOW_NOISE = 50
CHUNK = 16


@dataclass(frozen=True)
class SiteReport:
    """One population of neurons."""

    name: str
    signed: bool
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
class ConversionReport:
    """The report of one conversion; `to_dict` is what conversion_report.json holds under these names."""

    sites: tuple[SiteReport, ...]
    synapses: tuple[SynapseReport, ...]
    epsilon_error: float
    """Σ(ε_SNN − ε_ANN)² / Σε_ANN² over uniformly drawn diffusion timesteps."""
    epsilon_error_low_noise: float
    """The same over diffusion timesteps below 50."""
    firing_rate: float
    """Mean over all neurons and time steps."""

    @property
    def spike_driven(self) -> float:
        """Share of the synaptic operations that are driven by spikes, 0 … 1."""
        driven = sum(synapse.operations for synapse in self.synapses if synapse.driven_by == "spikes")
        return driven / max(1, sum(synapse.operations for synapse in self.synapses))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dataclasses.asdict(self) | {"spike_driven": self.spike_driven}


@torch.no_grad()
def measure(
    unet: SpikingUNet2DModel,
    ann: UNet2DModel,
    states: Tensor,
    diffusion_timesteps: Tensor,
    class_labels: Tensor | None = None,
    advance: Callable[[], None] = lambda: None,
) -> ConversionReport:
    """Compare the spiking network with its ANN on states [N, C, H, W], a chunk at a time.

    ``diffusion_timesteps`` [N] are drawn uniformly, then once more below 50: first the half that the uniform figures
    come from, then the low-noise half.
    """
    reference = SpikingUNet2DModel.from_unet(ann, unet.spec)
    neurons, reference_neurons = unet.neurons(), reference.neurons()
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    errors, powers = torch.zeros(2), torch.zeros(2)
    labels = [None] * len(states) if class_labels is None else class_labels.split(CHUNK)
    operations: dict[str, int] = {}
    order: list[str] = []
    half = len(states) // 2
    for start, state, diffusion_timestep, label in zip(
        range(0, len(states), CHUNK), states.split(CHUNK), diffusion_timesteps.split(CHUNK), labels, strict=False
    ):
        expected: dict[str, Tensor] = {}
        with (
            analog(reference),
            visiting(after=[(neuron, partial(_keep, expected, name)) for name, neuron in reference_neurons.items()]),
        ):
            target = reference(state, diffusion_timestep, label).sample
        order = list(expected)
        with visiting(
            after=[(neuron, partial(_compare, sums[name], expected, name, neuron)) for name, neuron in neurons.items()]
            + _counting(unet, operations)
        ):
            predicted = unet(state, diffusion_timestep, label).sample
        low = (torch.arange(start, start + len(state)) >= half).long()
        errors.index_add_(0, low, (predicted - target).square().sum((1, 2, 3)).cpu())
        powers.index_add_(0, low, target.square().sum((1, 2, 3)).cpu())
        advance()
    relative = (errors / powers.clamp(min=1e-12)).tolist()
    total = {key: sum(site[key] for site in sums.values()) for key in ("spikes", "neurons")}
    return ConversionReport(
        sites=tuple(_site(name, neurons[name], sums[name]) for name in order),
        synapses=tuple(_synapse(unet, name, count) for name, count in operations.items()),
        epsilon_error=relative[0],
        epsilon_error_low_noise=relative[1],
        firing_rate=total["spikes"] / max(1.0, total["neurons"] * unet.spec.time_steps),
    )


def table(report: ConversionReport, coding: str) -> Table:
    """One row per site, spiking or analog."""
    rows = Table("site", "emits", "θ", "offset", "firing rate", "saturation", "error to ANN", box=SIMPLE_HEAD)
    rows.columns[0].no_wrap = True
    for site in report.sites:
        rows.add_row(
            site.name.removesuffix(".neuron").replace(".processor", ""),
            f"{coding}, ±" if site.signed else coding,
            "{:.3g} … {:.3g}".format(*site.threshold),
            "{:.3g} … {:.3g}".format(*site.offset),
            f"{site.firing_rate:.3f}",
            f"{site.saturation:.2%}",
            f"{site.error:.2e}",
        )
    for synapse in report.synapses:
        if synapse.driven_by == "analog":
            rows.add_row(synapse.name, "[dim]analog", *["[dim]–"] * 5)
    return rows


def print_report(console: Console, report: ConversionReport, spec: SpikeSpec) -> None:
    """The table, then the totals."""
    console.print(table(report, spec.coding), width=max(console.width, 112) if not console.is_terminal else None)
    total = sum(synapse.operations for synapse in report.synapses)
    console.print(
        f"{len(report.sites)} sites spike, {spec.coding} coding, T = {spec.time_steps}, {spec.schedule}\n"
        f"relative ε error to the ANN: {report.epsilon_error:.5f} over all diffusion timesteps, "
        f"{report.epsilon_error_low_noise:.5f} below {LOW_NOISE}\n"
        f"driven by spikes: {report.spike_driven:.2%} of {total / 1e6:.1f} M synaptic operations per image; "
        f"mean firing rate {report.firing_rate:.3f}",
        soft_wrap=True,
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
    if neuron.forward_pass.slices > 1:
        unit, offset, output = (_mean_slice(part, neuron.forward_pass.slices) for part in (unit, offset, output))
    lowest, highest = neuron.level_range
    sums["spikes"] += spikes.abs().sum().item()
    sums["neurons"] += level.numel()
    sums["saturated"] += ((level <= lowest) | (level >= highest)).sum().item()
    sums["error"] += (output - target).square().sum().item()
    sums["power"] += target.square().sum().item()
    sums["off_level"] += (((output - offset) / unit - level).abs() > 0.01).sum().item()


def _mean_slice(folded: Tensor, slices: int) -> Tensor:
    return folded.unflatten(0, (slices, -1)).mean(0) if len(folded) > 1 else folded


def _counting(unet: SpikingUNet2DModel, operations: dict[str, int]) -> list[Any]:
    """Visitors that count the multiply-accumulates of one image in every layer with weights and attention product."""

    def weighted(name: str, layer: nn.Conv2d | nn.Linear, _value: Tensor, output: Tensor) -> None:
        operations[name] = output[0].numel() // len(layer.weight) * layer.weight.numel()

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
        threshold=(neuron.threshold.min().item(), neuron.threshold.max().item()),
        offset=(neuron.offset.min().item(), neuron.offset.max().item()),
        firing_rate=sums["spikes"] / (sums["neurons"] * neuron.spec.time_steps),
        saturation=sums["saturated"] / sums["neurons"],
        error=sums["error"] / max(sums["power"], 1e-12),
        off_level=sums["off_level"] / sums["neurons"],
    )


def _synapse(unet: SpikingUNet2DModel, name: str, operations: int) -> SynapseReport:
    driven = name in synapses(unet)
    if name.endswith(("·kᵀ", "·v")):
        attention = unet.get_submodule(name.rsplit(".", 1)[0])
        driven = isinstance(attention.processor, SpikingAttnProcessor)
    return SynapseReport(name, "spikes" if driven else "analog", operations)
