"""What ε feels of each site's rounding, measured on the ANN by one backward pass, and the values that pass there.

White noise of variance MSE_c in channel c of a site moves ε, to first order, by (Gauss–Newton)

    E ‖Δε‖² = Σ_c G_c · MSE_c,    G_c = Σ over positions of E (∂(z·ε) / ∂x_c)²,    z ~ N(0, 1)

so one vector–Jacobian product with a random z per state gives an estimate of G for all channels of all sites at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ann2snn_diffusion.common.progress import Advance, idle
from ann2snn_diffusion.spiking.ann_outputs import Batch, segments_of
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel, analog
from calibration.observe import sample_of, stacked, visiting
from calibration.rate_distortion import Sample


@dataclass(frozen=True)
class Sensitivity:
    """Of every site by name, in each of K noise segments.

    Attributes:
        gain: G, [K, C]: squared error of ε, summed over the image, for every unit of squared error in a channel.
        values: of what passes the site.
        power: mean ‖ε‖² of a state, [K].
    """

    gain: dict[str, Tensor]
    values: dict[str, Sample]
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
        rows: values that are kept of each channel and segment.
        at_a_time: states that pass the ANN, forth and back, together.
        advance: told of every noise segment.
        channels: of ε, behind which a network gives the variance that it learned; None: as many as states have.

    Raises:
        SpecError: a noise segment without a state.
    """
    states, diffusion_timesteps, labels = batch
    segment, segments = segments_of(unet, diffusion_timesteps), len(unet.spec.segments)
    neurons = unet.neurons()
    gain = {name: neuron.threshold.new_zeros(segments, neuron.threshold.shape[1]) for name, neuron in neurons.items()}
    values: dict[str, list[Sample]] = {name: [] for name in neurons}
    power, channels = states.new_zeros(segments), channels or states.shape[1]
    for index in range(segments):
        mine = (segment == index).nonzero()[:, 0]
        kept: dict[str, list[Sample]] = {name: [] for name in neurons}
        for part in mine.split(at_a_time):
            some = (states[part], diffusion_timesteps[part], None if labels is None else labels[part])
            found = _vector_jacobian(unet, some, channels, generator)
            power[index] += found.epsilon.square().sum() / len(mine)
            for name, (value, slope) in found.sites.items():
                channels_last = slope.movedim(neurons[name].dim, -1).flatten(0, -2)
                gain[name][index] += channels_last.square().sum(0) / len(mine)
                share = -(-rows * len(part) // len(mine))
                kept[name].append(sample_of(value, neurons[name].dim, share, generator))
        for name, parts in kept.items():
            values[name].append(_together(parts))
        advance()
    return Sensitivity(gain, {name: stacked(parts) for name, parts in values.items()}, power)


@dataclass(frozen=True)
class _Passed:
    """What one pass found: ε, and of every site its value and the slope of z·ε there."""

    epsilon: Tensor
    sites: dict[str, tuple[Tensor, Tensor]]


def _vector_jacobian(
    unet: SpikingUNet2DModel, batch: tuple[Tensor, Tensor, Tensor | None], channels: int, generator: torch.Generator
) -> _Passed:
    states, diffusion_timesteps, labels = batch
    sites: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor, output: Tensor) -> Tensor:
        del value
        # A tensor of its own: what passes a site may go elsewhere too, and only the site's synapses count.
        sites[name] = output.view_as(output)
        return sites[name]

    watched = [(neuron, partial(keep, name)) for name, neuron in unet.neurons().items()]
    with torch.enable_grad(), analog(unet), visiting(after=watched):
        epsilon = unet(states.requires_grad_(), diffusion_timesteps, labels).sample[:, :channels]
    z = torch.randn(epsilon.shape, generator=generator).to(epsilon)
    slopes = torch.autograd.grad(epsilon, list(sites.values()), z)
    detached = (value.detach() for value in sites.values())
    return _Passed(epsilon.detach(), dict(zip(sites, zip(detached, slopes, strict=True), strict=True)))


def _together(parts: list[Sample]) -> Sample:
    """Of one segment, drawn in parts."""
    low, high = torch.cat([part.low for part in parts]), torch.cat([part.high for part in parts])
    return Sample(torch.cat([part.rows for part in parts], 1), low.amin(0, keepdim=True), high.amax(0, keepdim=True))
