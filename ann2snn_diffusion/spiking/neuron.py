"""The spiking neuron: the only owner of the loop over the T time steps.

Of an analog value x (the accumulated membrane charge), in units of the smallest level (see `coding`):

    v ← (x − offset) / unit          unit = θ / Σ W
    unsigned:  v ← v + ½;   s_t = Θ(v − g·W_t);           v ← v − W_t·s_t
    signed:                 s_t = ±Θ(±v − g·½·W_t);       v ← v − W_t·s_t
    output = offset + unit · Σ_t W_t·s_t

A signed site is a positive and a negative neuron on one membrane. With guidance g = 1 the loop has a closed form,

    Σ_t W_t·s_t = clamp(round(v), lowest, highest),

which inference uses: one synapse pass per layer instead of T. Nothing is kept between calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ann2snn_diffusion.spiking.coding import level_range, step_weights
from ann2snn_diffusion.spiking.firing import FireAll, FireTicks, Firing, charge_of, round_to_level
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.surrogate import Surrogate, spike
from ann2snn_diffusion.spiking.ticks import arrivals, running_means


@dataclass
class ForwardPass:
    """What all layers of a network know of the forward pass under way; each pass writes it anew before it reads."""

    segment: Tensor | None = None
    """Noise segment of each batch row, int64 [S·B]; None: one segment for all."""
    ticks: int = 1
    """Ticks folded into the batch, [S·B, …] with S = T in the synchronous schedule, else 1; see `ticks`."""
    image: Tensor | None = None
    """The noisy image x_t, [S·B, C, H, W]."""
    analog: bool = False
    """Neurons pass their input through: the network is the ANN."""


@contextmanager
def analog(network: nn.Module) -> Iterator[None]:
    """Run ``network`` as the ANN it was converted from, inside the ``with`` block."""
    passes = {
        id(module.forward_pass): module.forward_pass
        for module in network.modules()
        if isinstance(module, SpikingNeuron)
    }
    before = {key: forward_pass.analog for key, forward_pass in passes.items()}
    try:
        for forward_pass in passes.values():
            forward_pass.analog = True
        yield
    finally:
        for key, forward_pass in passes.items():
            forward_pass.analog = before[key]


def fire(charge: Tensor, weight: int, guidance: float | Tensor, signed: bool, surrogate: Surrogate) -> Tensor:
    """Spikes of one time step, {0, 1} or {−1, 0, 1}, from the membrane charge in units."""
    if not signed:
        return spike(charge / weight - guidance, surrogate)
    half = guidance / 2
    return spike(charge / weight - half, surrogate) - spike(-charge / weight - half, surrogate)


def spike_train(
    charge: Tensor, weights: tuple[int, ...], guidance: float | Tensor, signed: bool, surrogate: Surrogate = "arctan"
) -> Tensor:
    """Spikes [T, …] of a neuron charged once with ``charge`` […] in units; the reference for every faster form."""
    membrane = charge if signed else charge + 0.5
    spikes = []
    for weight in weights:
        spikes.append(fire(membrane, weight, guidance, signed, surrogate))
        membrane = membrane - weight * spikes[-1]
    return torch.stack(spikes)


def spike_train_of_increments(
    increments: Tensor,
    leak: Tensor | float,
    guidance: float | Tensor,
    signed: bool,
    surrogate: Surrogate = "arctan",
    neurons: int = 1,
) -> Tensor:
    """Spikes [neurons·T, …] of rate-coded IF (leak 1) or LIF neurons whose input arrives tick by tick, [T, …] in units.

    Where several neurons share a membrane they fire in turn, all within the tick.
    """
    membrane = torch.zeros_like(increments[0]) if signed else torch.full_like(increments[0], 0.5)
    spikes = []
    for increment in increments:
        membrane = leak * membrane + increment
        for _ in range(neurons):
            spikes.append(fire(membrane, 1, guidance, signed, surrogate))
            membrane = membrane - spikes[-1]
    return torch.stack(spikes)


class SpikingNeuron(nn.Module):
    """A population of spiking neurons that stands before a synapse.

    Args:
        channels: C, the size of ``dim``.
        signed: spikes of both signs.
        spec: coding, time steps, schedule, segments.
        forward_pass: shared by all neurons of one network.
        dim: 1 for [B, C, H, W], −1 for [B, L, C].
        doubled: two neurons take turns on each membrane, so that a train has 2·T spikes, two a tick.

    Attributes:
        weights: W_1 … W_T of the spikes on one membrane, in the order of firing; W_1 … W_2T where doubled.
        threshold: θ > 0, [segments, C]; the amplitude of all T spikes together.
        offset: [segments, C]; the value of a silent neuron, through the next synapse a constant bias map.
        leak: λ in (0, 1], the membrane factor per tick; None in the layerwise schedule, which has no ticks to leak in.
        guidance: g in each noise segment; see `ann2snn_diffusion.spiking.guidance`.
        amplitudes: A_1 … A_T, what a spike of each step hands on, in units; None where they are the step weights.
    """

    def __init__(
        self,
        channels: int,
        signed: bool,
        spec: SpikeSpec,
        forward_pass: ForwardPass,
        dim: int = 1,
        doubled: bool = False,
    ) -> None:
        super().__init__()
        self.signed, self.dim, self.doubled = signed, dim, doubled
        self.spec = spec
        self.weights = step_weights(spec.coding, spec.time_steps * (2 if doubled else 1))
        self.forward_pass = forward_pass
        self.guidance = (1.0,) * len(spec.segments)
        self.threshold = nn.Parameter(torch.ones(len(spec.segments), channels))
        self.offset = nn.Parameter(torch.zeros(len(spec.segments), channels))
        self.leak = nn.Parameter(torch.tensor(float(spec.leak))) if spec.schedule == "synchronous" else None
        self.amplitudes = nn.Parameter(torch.tensor(self.weights).float()) if spec.learned_step_weights else None

    @property
    def level_range(self) -> tuple[int, int]:
        """Lowest and highest level in units."""
        return level_range(self.weights, self.signed)

    def forward(self, value: Tensor) -> Tensor:
        """[S·B, C, H, W] or [S·B, L, C] → the same shape."""
        if self.forward_pass.analog:
            return value
        firing = Firing(self.weights, self.condition(value), self.signed, self.spec.surrogate)
        unit, offset = self.levels(value)
        if self.leak is not None:
            slices = arrivals(self._by_tick(value))
            unit, offset = self._by_tick(unit), self._by_tick(offset)
            output: Tensor = FireTicks.apply(slices, unit, offset, self.leak, self.amplitudes, firing)  # pyright: ignore
            return running_means(output).flatten(0, 1)
        trains = torch.is_grad_enabled() and (value.requires_grad or self.threshold.requires_grad)
        if not (firing.guided or trains) and self.amplitudes is None:
            return round_to_level(value, unit, offset, *self.level_range)
        return FireAll.apply(value, unit, offset, self.amplitudes, firing)  # pyright: ignore

    def spikes(self, value: Tensor) -> Tensor:
        """The spike trains [T, B, …] for a value [S·B, …], tick by tick."""
        unit, offset = self.levels(value)
        charge = charge_of(value, unit, offset)
        guidance, surrogate = self.condition(value), self.spec.surrogate
        if self.leak is None:
            return spike_train(charge, self.weights, guidance, self.signed, surrogate)
        # A slice carries T times its share of the value.
        increments = arrivals(self._by_tick(charge)) / self.spec.time_steps
        neurons = len(self.weights) // self.spec.time_steps
        return spike_train_of_increments(increments, self.leak, guidance, self.signed, surrogate, neurons)

    def condition(self, value: Tensor) -> float | Tensor:
        """g of each row of ``value`` [S·B, …], shaped [B, 1, …] against one tick; a number where segments agree."""
        if len(set(self.guidance)) == 1 or self.forward_pass.segment is None:
            return self.guidance[0]
        rows = self.forward_pass.segment[: len(value) // self.forward_pass.ticks]
        return value.new_tensor(self.guidance)[rows].view(-1, *[1] * (value.ndim - 1))

    def _by_tick(self, folded: Tensor) -> Tensor:
        return folded.unflatten(0, (self.forward_pass.ticks, -1)) if len(folded) > 1 else folded

    def weigh(self, spikes: Tensor) -> Tensor:
        """Each spike times its amplitude, [T, …] in units."""
        weights = torch.tensor(self.weights) if self.amplitudes is None else self.amplitudes
        weights = weights.to(spikes)
        return spikes * weights.view(-1, *[1] * (spikes.ndim - 1))

    def levels(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Unit (smallest level) and offset for each row and channel, shaped to broadcast against ``value``."""
        threshold, offset = self.threshold, self.offset
        if self.forward_pass.segment is not None and len(threshold) > 1:
            threshold, offset = threshold[self.forward_pass.segment], offset[self.forward_pass.segment]
        shape = [len(threshold), *[1] * (value.ndim - 1)]
        shape[self.dim] = threshold.shape[1]
        return (threshold / sum(self.weights)).reshape(shape).to(value.dtype), offset.reshape(shape).to(value.dtype)
