"""What ε feels of each site's rounding, measured on the ANN by one backward pass, and the values that pass there.

White noise of variance MSE_c in channel c of a site moves ε, to first order, by (Gauss–Newton)

    E ‖Δε‖² = Σ_c G_c · MSE_c,    G_c = Σ over positions of E (∂(z·ε) / ∂x_c)²,    z ~ N(0, 1)

so one vector–Jacobian product with a random z per state gives an estimate of G for all channels of all sites at once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ann2snn_diffusion.common.progress import Advance, idle
from ann2snn_diffusion.spiking.ann_outputs import Batch, rows_of_batch, segments_of, split_batch
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration.observe import sample_of, stacked, visiting
from calibration.rate_distortion import Sample

WATCHED = 32
"""Channels of a site, spread evenly, whose values are kept."""


@dataclass(frozen=True)
class Sensitivity:
    """Of every site by name, in each of K noise segments.

    Attributes:
        gain: G, [K, C]: squared error of ε, summed over the image, for every unit of squared error in a channel.
        values: of what passes the site in its ``watched`` channels, W.
        watched: which these are, int64 [W].
        power: mean ‖ε‖² of a state, [K].
    """

    gain: dict[str, Tensor]
    values: dict[str, Sample]
    watched: dict[str, Tensor]
    power: Tensor


def measure_sensitivity(
    unet: SpikingUNet2DModel,
    batch: Batch,
    rows: int,
    generator: torch.Generator,
    at_a_time: int,
    advance: Advance = idle,
    channels: int | None = None,
) -> Sensitivity:
    """Gains of all sites of ``unet``, which runs as its ANN.

    Args:
        batch: states x_s [N, C, H, W], diffusion timesteps int64 [N], class labels or None; in every noise segment
            equally many.
        rows: values that are kept of each watched channel and segment.
        at_a_time: states that pass the ANN, forth and back, together.
        advance: told of every noise segment.
        channels: of ε, behind which a network gives the variance that it learned; None: as many as states have.

    Raises:
        SpecError: a noise segment without a state.
    """
    states, neurons, segments = batch[0], unet.neurons(), len(unet.spec.segments)
    gain = {name: neuron.threshold.new_zeros(segments, neuron.threshold.shape[1]) for name, neuron in neurons.items()}
    watched = _watched(unet)
    values: dict[str, list[Sample]] = {name: [] for name in neurons}
    power, channels = states.new_zeros(segments), channels or states.shape[1]
    for index, mine in enumerate(_by_segment(unet, batch)):
        count = len(mine[0])
        visits = _Visits(generator, watched, defaultdict(list), {name: rows[index] for name, rows in gain.items()})
        for some in split_batch(mine, at_a_time):
            share = -(-rows * len(some[0]) // count)
            sites = [(neuron, partial(visits.keep, name, neuron.dim, share)) for name, neuron in neurons.items()]
            with visiting(after=sites):
                power[index] += _backpropagate(unet, some, channels, generator).square().sum() / count
        for name, parts in visits.samples.items():
            gain[name][index] /= count
            values[name].append(_together(parts))
        advance()
    return Sensitivity(gain, {name: stacked(parts) for name, parts in values.items()}, watched, power)


@torch.no_grad()
def passing_values(
    unet: SpikingUNet2DModel,
    batch: Batch,
    rows: int,
    generator: torch.Generator,
    at_a_time: int,
    advance: Advance = idle,
) -> dict[str, Tensor]:
    """By site, values that pass its watched channels in the ANN, of every noise segment: [K, N, W].

    Args:
        batch, rows, at_a_time, advance: as in `measure_sensitivity`.

    Raises:
        SpecError: a noise segment without a state.
    """
    neurons, watched = unet.neurons(), _watched(unet)
    values: dict[str, list[Sample]] = {name: [] for name in neurons}
    for mine in _by_segment(unet, batch):
        visits = _Visits(generator, watched, defaultdict(list), {})
        for some in split_batch(mine, at_a_time):
            share = -(-rows * len(some[0]) // len(mine[0]))
            sites = [(neuron, partial(visits.sample, name, neuron.dim, share)) for name, neuron in neurons.items()]
            with analog(unet), visiting(after=sites):
                unet(*some)
        for name, parts in visits.samples.items():
            values[name].append(_together(parts))
        advance()
    return {name: stacked(parts).rows for name, parts in values.items()}


def _watched(unet: SpikingUNet2DModel) -> dict[str, Tensor]:
    """By site, its watched channels, int64 [W]."""
    found = {}
    for name, neuron in unet.neurons().items():
        channels, device = neuron.threshold.shape[1], neuron.threshold.device
        found[name] = torch.linspace(0, channels - 1, min(WATCHED, channels), device=device).round().long()
    return found


def _by_segment(unet: SpikingUNet2DModel, batch: Batch) -> list[Batch]:
    """The states of each noise segment, of which every one has some."""
    segment = segments_of(unet, batch[1])
    return [rows_of_batch(batch, (segment == index).nonzero()[:, 0]) for index in range(len(unet.spec.segments))]


@dataclass(frozen=True)
class _Visits:
    """What is kept of the passes of one noise segment, site by site: nothing of a site's own size."""

    generator: torch.Generator
    watched: dict[str, Tensor]
    samples: defaultdict[str, list[Sample]]
    squares: dict[str, Tensor]
    """Σ over positions of (∂(z·ε) / ∂x_c)², [C]."""

    def sample(self, name: str, dim: int, rows: int, _value: Tensor, output: Tensor) -> None:
        """Sample what passes a site."""
        some = output.detach().index_select(dim, self.watched[name])
        self.samples[name].append(sample_of(some, dim, rows, self.generator))

    def keep(self, name: str, dim: int, rows: int, value: Tensor, output: Tensor) -> Tensor:
        """Sample what passes a site, and see to it that its slope is added when that comes back."""
        self.sample(name, dim, rows, value, output)
        # A tensor of its own: what passes a site may go elsewhere too, and only the site's synapses count.
        passing = output.view_as(output)
        passing.register_hook(partial(self._add, name, dim))
        return passing

    def _add(self, name: str, dim: int, slope: Tensor) -> None:
        self.squares[name] += slope.movedim(dim, -1).flatten(0, -2).square().sum(0)


def _backpropagate(
    unet: SpikingUNet2DModel, batch: tuple[Tensor, Tensor, Tensor | None], channels: int, generator: torch.Generator
) -> Tensor:
    """Take a random z·ε back through the ANN; returns ε."""
    states, diffusion_timesteps, labels = batch
    with torch.enable_grad(), analog(unet), saved_tensors_hooks(_rounded, _restored):
        epsilon = unet(states.requires_grad_(), diffusion_timesteps, labels).sample[:, :channels]
    z = torch.randn(epsilon.shape, generator=generator).to(epsilon)
    torch.autograd.backward(epsilon, z, inputs=[states])
    return epsilon.detach()


def _rounded(saved: Tensor) -> tuple[Tensor, torch.dtype]:
    """An activation, in bfloat16 until it is needed again, for a gain is a rough figure; weights as they are."""
    return (saved if saved.is_leaf or saved.dtype != torch.float32 else saved.bfloat16()), saved.dtype


def _restored(kept: tuple[Tensor, torch.dtype]) -> Tensor:
    return kept[0].to(kept[1])


def _together(parts: list[Sample]) -> Sample:
    """Of one segment, drawn in parts."""
    low, high = torch.cat([part.low for part in parts]), torch.cat([part.high for part in parts])
    return Sample(torch.cat([part.rows for part in parts], 1), low.amin(0, keepdim=True), high.amax(0, keepdim=True))
