"""How a neuron fires: the only owner of the loops over firing steps and over ticks.

Of an analog value x (the accumulated membrane charge), in units of the smallest level (see `coding`):

    v ← (x − offset) / unit          unit = θ / Σ W
    unsigned:  v ← v + ½;   s_t = Θ(v − g·C_t);           v ← v − W_t·s_t
    signed:                 s_t = ±Θ(±v − g·C_t);         v ← v − W_t·s_t

A signed site is a positive and a negative neuron on one membrane; for C_t see `conditions`. With guidance g = 1 the
loop has a closed form: a table of the quarters of a unit where there is a dead zone, or the same by bits
(`sparse_levels`); and elsewhere

    Σ_t W_t·s_t = clamp(round(v), lowest, highest)

Charged tick by tick, rate coding, from a residue u_0 of 0, or ½ where unsigned: v_t = λ·u_{t−1} + I_t, u_t = v_t − s_t.
Where two neurons take turns on a membrane, a tick has n = 2 firing steps; between them nothing arrives or leaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ann2snn_diffusion.spiking.coding import level_range
from ann2snn_diffusion.spiking.guidance import UNGUIDED
from ann2snn_diffusion.spiking.sparse_levels import sparse_level
from ann2snn_diffusion.spiking.surrogate import Surrogate, derivative, spike
from calibration.levels import level_of

FIRED_AT_A_TIME = 1 << 18
"""Neurons, on a CPU."""
SpikeFunction = Callable[[Tensor, int], Tensor]
"""Spikes of one firing step, {0, 1} or {−1, 0, 1}, of a membrane in units and W_t."""


@dataclass(frozen=True)
class Firing:
    """When a neuron fires; see the module's equations."""

    weights: tuple[int, ...]
    guidance: float | Tensor
    """g, or that of each row, [B, 1, …]."""
    signed: bool
    surrogate: Surrogate
    conditions: Mapping[int, float]
    """C of every weight, in units."""
    table: Tensor | None = None
    """The level of every quarter of a unit, as `calibration.levels` has it; None: the nearest level."""
    by_step: tuple[float, float] = UNGUIDED
    """What g has beside ``guidance`` on the steps before the last one, and on the last one."""

    guided: bool = field(init=False)
    """Whether any condition differs from the plain one; found here, or each g would have a kernel of its own."""

    def __post_init__(self) -> None:
        guided = isinstance(self.guidance, Tensor) or self.guidance != 1 or self.by_step != UNGUIDED
        object.__setattr__(self, "guided", guided)

    @property
    def bits(self) -> bool:
        """Whether signed spikes weigh 1, 2, 4, …; with a dead zone such trains are always sparse (`SpikeSpec`)."""
        return self.signed and self.weights[0] == 2 ** (len(self.weights) - 1)

    def spikes(self, membrane: Tensor, weight: int) -> Tensor:
        """s_t, without gradients."""
        # In place a comparison keeps the membrane's type: to compare, then to cast, takes five times as long on a CPU.
        condition = self.condition(weight)
        if self.signed and torch.compiler.is_compiling():  # ONNX knows no sign bit
            return (membrane >= condition).to(membrane) - (membrane <= -condition).to(membrane)
        if self.signed:
            return membrane.abs().ge_(condition).copysign_(membrane)
        return membrane.clone().ge_(condition)

    def differentiable_spikes(self, membrane: Tensor, weight: int) -> Tensor:
        """s_t, differentiated by the surrogate: the reference for every faster form."""
        condition = self.condition(weight) / weight
        if not self.signed:
            return spike(membrane / weight - condition, self.surrogate)
        return spike(membrane / weight - condition, self.surrogate) - spike(
            -membrane / weight - condition, self.surrogate
        )

    def slope(self, membrane: Tensor, weight: int) -> Tensor:
        """W_t·h_t, h_t being the surrogate of ds_t/dv_t."""
        condition = self.condition(weight)
        slope = derivative((membrane - condition) / weight, self.surrogate)
        return slope.add_(derivative((membrane + condition) / weight, self.surrogate)) if self.signed else slope

    def condition(self, weight: int) -> float | Tensor:
        """g·C_t, in units: the charge from which a spike that weighs W_t is fired."""
        return self.guidance * (self.by_step[weight == self.weights[-1]] * self.conditions[weight])

    def level(self, charge: Tensor, in_place: bool = False) -> Tensor:
        """Σ_t W_t·s_t with g = 1, in closed form; ``charge``, in units, is overwritten, if possible by the levels."""
        compiling = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
        if compiling and self.table is not None and self.bits:
            return sparse_level(charge, sum(self.weights))
        out = charge if in_place and self.table is not None and self.table.dtype == charge.dtype else None
        return level_of(charge, *level_range(self.weights, self.signed), self.table, out)


class Step(NamedTuple):
    """One firing step: the membrane before it, in units, its spikes, and what they leave of the membrane."""

    membrane: Tensor
    spikes: Tensor
    residue: Tensor


class Tick(NamedTuple):
    """One tick: the residue u_{t−1} that it starts from, and its firing steps."""

    start: Tensor
    steps: list[Step]


def firing_steps(membrane: Tensor, weights: Sequence[int], spikes_of: SpikeFunction) -> Iterator[Step]:
    """The firing steps of a membrane that nothing more arrives at, one for each of ``weights``."""
    for weight in weights:
        spikes = spikes_of(membrane, weight)
        residue = torch.sub(membrane, spikes, alpha=weight)
        yield Step(membrane, spikes, residue)
        membrane = residue


def steps_of_charge(charge: Tensor, firing: Firing, spikes_of: SpikeFunction) -> Iterator[Step]:
    """The firing steps of a neuron that is charged once, […] in units."""
    return firing_steps(charge if firing.signed else charge + 0.5, firing.weights, spikes_of)


def ticks_of(
    increments: Sequence[Tensor] | Tensor, leak: Tensor, firing: Firing, spikes_of: SpikeFunction
) -> Iterator[Tick]:
    """The ticks of a rate-coded IF (leak 1) or LIF neuron whose input arrives tick by tick, T of them in units."""
    residue = torch.full_like(increments[0], 0 if firing.signed else 0.5)
    per_tick = len(firing.weights) // len(increments)
    for increment in increments:
        start, membrane = residue, torch.addcmul(increment, residue, leak)
        steps = list(firing_steps(membrane, firing.weights[:per_tick], spikes_of))
        residue = steps[-1].residue
        yield Tick(start, steps)


def spike_train(charge: Tensor, firing: Firing) -> Tensor:
    """Spikes [T, …], with surrogate gradients, of a neuron that is charged once, […] in units."""
    return torch.stack([step.spikes for step in steps_of_charge(charge, firing, _spike_function(firing))])


def spike_train_of_increments(increments: Sequence[Tensor] | Tensor, leak: Tensor, firing: Firing) -> Tensor:
    """Spikes [n·T, …], with surrogate gradients, of a neuron that is charged tick by tick, T times, in units."""
    ticks = ticks_of(increments, leak, firing, _spike_function(firing))
    return torch.stack([step.spikes for tick in ticks for step in tick.steps])


def _spike_function(firing: Firing) -> SpikeFunction:
    return firing.differentiable_spikes if torch.is_grad_enabled() else firing.spikes


def fired(charge: Tensor, firing: Firing) -> Tensor:
    """Σ_t W_t·s_t: what firing takes off the membrane of a neuron that is charged once."""
    residue = charge
    for step in steps_of_charge(charge, firing, firing.spikes):
        residue = step.residue
    level = charge - residue
    return (level if firing.signed else level.add_(0.5)).round_()


def charge_of(value: Tensor, per_unit: Tensor, offset: Tensor, out: Tensor | None = None) -> Tensor:
    """(value − offset) · per_unit, with per_unit = 1 / unit; the same to the last bit wherever a neuron is charged."""
    return torch.sub(value, offset, out=out).mul_(per_unit)


def fired_at_once(value: Tensor, unit: Tensor, offset: Tensor, firing: Firing) -> Tensor:
    """offset + unit · Σ_t W_t·s_t of an unguided neuron, in closed form.

    On a CPU memory costs more than arithmetic, so a few rows at a time go all the way, in the cache.
    """
    if value.device.type != "cpu" or torch.compiler.is_compiling():
        return firing.level(charge_of(value, unit.reciprocal(), offset)).mul_(unit).add_(offset)
    output = torch.empty_like(value, memory_format=torch.contiguous_format)
    at_a_time = max(1, FIRED_AT_A_TIME // max(1, value[:1].numel()))
    tensors = (output, value, unit, unit.reciprocal(), offset)
    parts = [one.expand(len(value), *one.shape[1:]).split(at_a_time) for one in tensors]
    for fired_rows, rows, units, per_units, offsets in zip(*parts, strict=True):
        level = firing.level(charge_of(rows, per_units, offsets, out=fired_rows), in_place=True)
        torch.add(level.mul_(units), offsets, out=fired_rows)
    return output
