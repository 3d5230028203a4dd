"""Calibration: one forward pass in which every site sets its thresholds and every synapse corrects itself.

In execution order

- a neuron solves scale and offset from what really arrives at it, and from then on spikes;
- a synapse, which now receives spikes, sets the correction of its weight and bias toward what it gives in the ANN.

So each site and synapse sees, and can undo, what the coding upstream lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ann2snn_diffusion.common.heap import give_back
from ann2snn_diffusion.common.progress import Advance, idle
from ann2snn_diffusion.common.shares import Shares
from ann2snn_diffusion.spiking.ann_outputs import SeenStates, Target
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.corrected import Corrected, Correction
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.ticks import value_of
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration import solve_levels
from calibration.correct import apply_delta, correction
from calibration.observe import After, sample_of, visiting
from calibration.rate_distortion import Sample

CORRECTED_AT_A_TIME = 1 << 24
"""Outputs of a layer that a correction is added to together."""
Solve = Callable[[str, list[Sample]], tuple[Tensor, Tensor]]
"""Of a site by name, and of the values that arrived there in each segment: scale and offset, [segments, C]."""


@torch.no_grad()
def calibrate(
    unet: SpikingUNet2DModel,
    seen: SeenStates,
    spec: CalibrationSpec,
    generator: torch.Generator,
    solve: Solve | None = None,
    advance: Advance = idle,
) -> None:
    """Set all thresholds, offsets and corrected weights of ``unet`` in place.

    Args:
        seen: states of all noise segments, and what the ANN makes of them; all pass the network together. Of several
            processes each has a share of them, and all set the same.
        solve: how scale and offset are found; by default as ``spec.method`` says.
        advance: called after every site.
    """
    calibration = _CalibrationPass(
        unet, seen, spec, generator, solve or partial(solved, unet, spec), advance, emitted={}
    )
    neurons = unet.neurons()
    after: list[tuple[nn.Module, After]] = [
        (neuron, partial(calibration.hand_on, neuron)) for neuron in neurons.values()
    ]
    after += [(layer, partial(calibration.correct, name, layer)) for name, layer in unet.synapses().items()]
    with visiting([(neuron, partial(calibration.charge, name, neuron)) for name, neuron in neurons.items()], after):
        unet(*seen.batch)


@dataclass(frozen=True)
class _CalibrationPass:
    """What happens at each site and synapse of the calibration pass."""

    unet: SpikingUNet2DModel
    seen: SeenStates
    spec: CalibrationSpec
    generator: torch.Generator
    solve: Solve
    advance: Advance
    emitted: dict[nn.Module, Tensor]
    """What neurons handed on to their own layer's weights, of the last tick, [N, …]."""

    def charge(self, name: str, neuron: SpikingNeuron, value: Tensor) -> None:
        """Solve the neuron's thresholds from what arrives."""
        arrived = value_of(value, len(self.seen))
        count = max(1, self.spec.positions // self.seen.shares.processes)
        samples = [
            joined(sample_of(arrived[rows], neuron.dim, count, self.generator), self.seen.shares)
            for rows in self.seen.by_segment()
        ]
        scale, neuron.offset.data = self.solve(name, samples)
        neuron.threshold.data = scale * sum(neuron.weights)

    def hand_on(self, neuron: SpikingNeuron, _value: Tensor, output: Tensor) -> None:
        """Keep what the neuron's own layer receives."""
        give_back()
        self.emitted[neuron] = value_of(output, len(self.seen))
        self.advance()

    def correct(self, name: str, layer: Corrected, input: Tensor, output: Tensor) -> None:
        """Find the layer's corrections from what its weights received, and let them act."""
        own = layer.encoder
        spikes = value_of(input, len(self.seen)) if own is None else self.emitted.pop(own)
        targets = self.seen.targets.get(name)
        if targets is None:
            return
        received = layer.received(spikes)
        corrections = layer.corrections(self.spec.correction, self.spec.positions)
        for part, target in zip(corrections, targets, strict=True):
            if target is not None:
                self._correct(layer, part, target, received, output)

    def _correct(self, layer: Corrected, part: Correction, target: Target, received: Tensor, output: Tensor) -> None:
        rows = self.seen.rows(part)
        given = value_of(output, len(self.seen))
        if part.segment is not None:
            received, given = received[rows], given[rows]
        total = self.seen.shares.total
        found = correction(part.linear, received, given, target.output, target.places, part.strength, total)
        if found is None:
            return
        weight, bias = layer.as_stored(found[0]), found[1]
        part.add(weight, bias)
        every_tick = output.unflatten(0, (-1, len(self.seen)))
        at_a_time = max(1, CORRECTED_AT_A_TIME // output[0].numel())
        for some, of_some in zip(rows.split(at_a_time), received.split(at_a_time), strict=True):
            every_tick[:, some] += apply_delta(part.linear, of_some, weight, None if part.bias is None else bias)


def joined(sample: Sample, shares: Shares) -> Sample:
    """The samples of one segment that several processes drew, as one."""
    low, high = shares.joined(sample.low), shares.joined(sample.high)
    return Sample(shares.joined(sample.rows[0])[None], low.amin(0, keepdim=True), high.amax(0, keepdim=True))


def solved(unet: SpikingUNet2DModel, spec: CalibrationSpec, site: str, samples: list[Sample]) -> tuple[Tensor, Tensor]:
    """Scale and offset, [segments, C], as ``spec.method`` says."""
    lowest, highest = unet.neurons()[site].level_range
    found = [_levels_of(sample.rows[0], spec, lowest, highest) for sample in samples]
    scale, offset = zip(*found, strict=True)
    return torch.stack(scale), torch.stack(offset)


def _levels_of(values: Tensor, spec: CalibrationSpec, lowest: int, highest: int) -> tuple[Tensor, Tensor]:
    """Scale and offset, [C], of the values [N, C] in a noise segment."""
    channels = values.shape[1]
    if spec.per == "tensor":
        values = values.flatten()[:, None]
    if spec.method == "least-squares":
        scale, offset = solve_levels.least_squares(values, lowest, highest)
    else:
        scale, offset = solve_levels.percentile(
            values, lowest, highest, 100 if spec.method == "max" else spec.percentile
        )
    return scale.expand(channels), offset.expand(channels)
