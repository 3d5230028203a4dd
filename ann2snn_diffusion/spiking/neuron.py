"""The spiking neuron: what it holds, and which way of firing a pass takes; see `firing` for the equations.

    output = offset + unit · Σ_t W_t·s_t,    unit = θ / Σ W

Inference without guidance uses the closed form: one synapse pass per layer instead of T. Nothing is kept between calls.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ann2snn_diffusion.spiking.coding import level_range, step_weights
from ann2snn_diffusion.spiking.conditions import conditions
from ann2snn_diffusion.spiking.firing import (
    Firing,
    charge_of,
    fired,
    fired_at_once,
    spike_train,
    spike_train_of_increments,
)
from ann2snn_diffusion.spiking.firing_gradients import FireAll
from ann2snn_diffusion.spiking.forward_pass import current
from ann2snn_diffusion.spiking.fusing import compiled, unfused
from ann2snn_diffusion.spiking.guidance import UNGUIDED
from ann2snn_diffusion.spiking.spec import HIGHEST_TABULATED, SpikeSpec
from ann2snn_diffusion.spiking.tick_gradients import FireTicks
from ann2snn_diffusion.spiking.ticks import increments, running_means
from calibration.levels import level_table, quarters


class SpikingNeuron(nn.Module):
    """A population of spiking neurons that stands before a synapse.

    Args:
        channels: C, the size of ``dim``.
        signed: spikes of both signs.
        spec: coding, time steps, schedule, segments.
        dim: 1 for [B, C, H, W], −1 for [B, L, C].
        doubled: two neurons take turns on each membrane, so that a train has 2·T spikes, two a tick.

    Attributes:
        weights: W_1 … W_T of the spikes on one membrane, in the order of firing; W_1 … W_2T where doubled.
        threshold: θ > 0, [segments, C]; the amplitude of all T spikes together.
        offset: [segments, C]; the value of a silent neuron, through the next synapse a constant bias map.
        leak: λ in (0, 1], the membrane factor per tick; None in the layerwise schedule, which has no ticks to leak in.
        guidance: g in each noise segment; see `ann2snn_diffusion.spiking.guidance`.
        step_guidance: what g has beside that on the steps before the last one, and on the last one.
        amplitudes: A_1 … A_T, what a spike of each step hands on, in units; None where they are the step weights.
        table: level of every quarter of a unit where there is a dead zone; None elsewhere.
    """

    table: Tensor | None

    own_parameters = ("threshold", "offset", "leak", "amplitudes")
    """The parameters that the ANN has not."""

    def __init__(self, channels: int, signed: bool, spec: SpikeSpec, dim: int = 1, doubled: bool = False) -> None:
        super().__init__()
        self.signed, self.dim, self.doubled = signed, dim, doubled
        self.spec = spec
        self.weights = step_weights(spec.coding, spec.time_steps * (2 if doubled else 1))
        self.conditions = conditions(
            self.weights, spec.coding, signed=signed, sparse=spec.sparse, dead_zone=bool(spec.dead_zone)
        )
        self.guidance = (1.0,) * len(spec.segments)
        self.step_guidance = UNGUIDED
        self.threshold = nn.Parameter(torch.ones(len(spec.segments), channels))
        self.offset = nn.Parameter(torch.zeros(len(spec.segments), channels))
        self.leak = nn.Parameter(torch.tensor(float(spec.leak))) if spec.schedule == "synchronous" else None
        self.amplitudes = nn.Parameter(torch.tensor(self.weights).float()) if spec.learned_step_weights else None
        self.register_buffer("table", None, persistent=False)
        if spec.dead_zone:
            self.table = level_table(fired(quarters(*self.level_range), self._firing()))

    @property
    def level_range(self) -> tuple[int, int]:
        """Lowest and highest level in units."""
        return level_range(self.weights, self.signed)

    def forward(self, value: Tensor) -> Tensor:
        """[S·B, C, H, W] or [S·B, L, C] → the same shape."""
        forward_pass = current()
        if forward_pass.analog:
            return value
        output = self._fire(value)
        if forward_pass.listener is not None:
            forward_pass.listener.hear(self, value)
        return output

    def _fire(self, value: Tensor) -> Tensor:
        # A kernel does not tell height from width, and goes through memory in order.
        shape, value = value.shape, value.flatten(2)
        parts = (value, *self.levels(value))
        swapped = value.stride(1) < value.stride(2)
        output = self._hand_on(*(part.transpose(1, 2) if swapped else part for part in parts))
        return (output.transpose(1, 2) if swapped else output).view(shape)

    def _hand_on(self, value: Tensor, unit: Tensor, offset: Tensor) -> Tensor:
        """What is handed on for a value [S·B, …, …], in whatever order its places are."""
        firing, fused = self._guided(value), current().fused
        fuse = compiled if fused else unfused
        if self.leak is not None:
            means, unit, offset = self._by_tick(value), self._of_a_tick(unit), self._of_a_tick(offset)
            output: Tensor = FireTicks.apply(means, unit, offset, self.leak, self.amplitudes, firing, fuse)  # pyright: ignore
            return output.flatten(0, 1)
        trains = torch.is_grad_enabled() and any(part.requires_grad for part in (value, unit, offset))
        if fused or trains or firing.guided or self.amplitudes is not None:
            return FireAll.apply(value, unit, offset, self.amplitudes, firing, fuse)  # pyright: ignore
        return fired_at_once(value, unit, offset, firing)

    def spikes(self, value: Tensor) -> Tensor:
        """The spike trains [T, B, …] for a value [S·B, …], tick by tick, with surrogate gradients."""
        unit, offset = self.levels(value)
        charge = charge_of(value, unit.reciprocal(), offset)
        if self.leak is None:
            return spike_train(charge, self._guided(value))
        return spike_train_of_increments(increments(self._by_tick(charge)), self.leak, self._guided(value))

    def handed_on(self, spikes: Tensor, value: Tensor) -> Tensor:
        """What the spike trains [n·T, B, …] of `spikes` sum to, as the neuron hands it on, shaped as ``value``."""
        unit, offset = self.levels(value)
        if self.leak is None:
            return torch.addcmul(offset, self.weighted_sum(spikes), unit)
        ticks = current().ticks
        carried = torch.einsum("t,t...->t...", self._amplitudes(spikes), spikes).unflatten(0, (ticks, -1)).sum(1)
        levels = torch.cat(running_means(ticks * carried))
        return torch.addcmul(offset, levels, unit)

    def levels_with_one_train(self, value: Tensor) -> Tensor | None:
        """Σ_t W_t·s_t [B, …] in units of a neuron that fires one train for each of them; None of any other.

        Others are guided, or charged tick by tick; or their conditions lie amid a level, as of radix coding that fires
        early; or they have more levels than are worth a table.
        """
        firing = self._guided(value)
        early = self.spec.coding == "radix" and self.signed and not self.spec.sparse
        many = self.level_range[1] > HIGHEST_TABULATED
        if self.leak is not None or firing.guided or early or many:
            return None
        unit, offset = self.levels(value)
        return firing.level(charge_of(value, unit.reciprocal(), offset))

    def trains_of_levels(self, levels: Tensor) -> Tensor:
        """Spikes {−1, 0, 1} that an unguided neuron fires for each of its levels, [firing steps, L]; L in units."""
        charge = levels
        if self.table is not None:  # a level may lie where a cheaper one beside it is fired
            first = torch.searchsorted(self.table[:-1], levels.to(self.table)).clamp_(max=len(self.table) - 2)
            charge = quarters(*self.level_range).to(levels)[first]
        return spike_train(charge, self._firing()).detach()

    def spikes_of_levels(self, levels: Tensor) -> Tensor:
        """Spikes of either sign that an unguided neuron fires for each of its levels, [L] in units."""
        return self.trains_of_levels(levels).abs().sum(0)

    def spikes_of_charge(self, charge: Tensor) -> Tensor:
        """Spikes of either sign that it fires, unguided, for each charge, [L] in units."""
        return spike_train(charge, self._firing()).detach().abs().sum(0)

    def _firing(self, guidance: float | Tensor = 1.0, by_step: tuple[float, float] = UNGUIDED) -> Firing:
        return Firing(self.weights, guidance, self.signed, self.spec.surrogate, self.conditions, self.table, by_step)

    def _guided(self, value: Tensor) -> Firing:
        return self._firing(self.guidance_of(value), self.step_guidance)

    def guidance_of(self, value: Tensor) -> float | Tensor:
        """g of each row of ``value`` [S·B, …], shaped [B, 1, …] against one tick; a number where segments agree."""
        forward_pass = current()
        if len(set(self.guidance)) == 1 or forward_pass.segment is None:
            return self.guidance[0]
        rows = forward_pass.segment[: value.shape[0] // forward_pass.ticks]
        return value.new_tensor(self.guidance)[rows].view(-1, *[1] * (value.ndim - 1))

    def _by_tick(self, folded: Tensor) -> Tensor:
        return folded.unflatten(0, (current().ticks, -1))

    def _of_a_tick(self, folded: Tensor) -> Tensor:
        """What all ticks have alike, of one of them."""
        return folded[: folded.shape[0] // current().ticks] if folded.shape[0] > 1 else folded

    def weighted_sum(self, spikes: Tensor) -> Tensor:
        """Σ_t A_t·s_t of spike trains [T, …], in units."""
        return torch.einsum("t,t...->...", self._amplitudes(spikes), spikes)

    def _amplitudes(self, spikes: Tensor) -> Tensor:
        """A_t, of the type of ``spikes``."""
        return (torch.tensor(self.weights) if self.amplitudes is None else self.amplitudes).to(spikes)

    def levels(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Unit (smallest level) and offset for each row and channel, shaped to broadcast against ``value``.

        Raises:
            RuntimeError: there are several noise segments, and no forward pass says which one a row belongs to.
        """
        threshold, offset, segment = self.threshold, self.offset, current().segment
        if len(threshold) > 1:
            if segment is None:
                raise RuntimeError(
                    f"SpikingNeuron: expected a forward pass that names each row's noise segment, of {len(threshold)}, "
                    "got none; call the whole SpikingUNet2DModel, or a part of it inside `running(ForwardPass(…))`."
                )
            threshold, offset = threshold[segment], offset[segment]
        shape = [threshold.shape[0], *[1] * (value.ndim - 1)]
        shape[self.dim] = threshold.shape[1]
        return (threshold / sum(self.weights)).reshape(shape).to(value.dtype), offset.reshape(shape).to(value.dtype)
