"""Calibration: one forward pass in which every site sets its thresholds and every synapse corrects itself.

ANN rows and SNN rows of the same states travel side by side in one batch, [ANN; SNN]. In execution order

- a neuron solves scale and offset from what really arrives at it, and from then on spikes for the SNN rows;
- a synapse, which now receives spikes, sets the correction of its weight and bias toward what it gives for the ANN
  rows.

So each site and synapse sees, and can undo, what the coding upstream lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ann2snn_diffusion.common.progress import Advance, idle
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.corrected import Corrected
from ann2snn_diffusion.spiking.folding import require_ann
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.ticks import value_of
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration import solve_levels
from calibration.correct import apply_delta, correction
from calibration.observe import After, sample_of, visiting
from calibration.rate_distortion import Sample

Solve = Callable[[str, list[Sample]], tuple[Tensor, Tensor]]
"""Of a site by name, and of the values that arrived there in each segment: scale and offset, [segments, C]."""


@torch.no_grad()
def calibrate(
    unet: SpikingUNet2DModel,
    batch: tuple[Tensor, Tensor, Tensor | None],
    spec: CalibrationSpec,
    generator: torch.Generator,
    solve: Solve | None = None,
    advance: Advance = idle,
) -> None:
    """Set all thresholds, offsets and corrected weights of ``unet`` in place.

    Args:
        batch: noisy images x_s, [N, C, H, W], over all noise segments; their diffusion timesteps, int64 [N]; class
            labels, or None.
        solve: how scale and offset are found; by default as ``spec.method`` says.
        advance: called after every site.

    Raises:
        SpecError: a noise segment without a state.
        FoldedError: ``unet`` is folded.
    """
    require_ann(unet, "calibrate")
    states, diffusion_timesteps, class_labels = batch
    segment = segments_of(unet, diffusion_timesteps)
    calibration = _CalibrationPass(
        unet, segment, spec, generator, solve or partial(solved, unet, spec), advance, emitted={}
    )
    neurons = unet.neurons()
    after: list[tuple[nn.Module, After]] = [
        (neuron, partial(calibration.pass_ann_through, neuron)) for neuron in neurons.values()
    ]
    if spec.correction:
        after += [(layer, partial(calibration.correct, layer)) for layer in unet.synapses().values()]
    labels = None if class_labels is None else torch.cat([class_labels, class_labels])
    with visiting([(neuron, partial(calibration.charge, name, neuron)) for name, neuron in neurons.items()], after):
        unet(torch.cat([states, states]), torch.cat([diffusion_timesteps, diffusion_timesteps]), labels)


def segments_of(unet: SpikingUNet2DModel, diffusion_timesteps: Tensor) -> Tensor:
    """The noise segment of each state, int64 [N].

    Raises:
        SpecError: a noise segment without a state.
    """
    segment = unet.segment_of(diffusion_timesteps)
    for index, start in enumerate(unet.spec.segments):
        expected = f"more, so that the noise segment from diffusion timestep {start} has one"
        require(bool((segment == index).any()), "states", len(segment), expected)
    return segment


@dataclass(frozen=True)
class _CalibrationPass:
    """What happens at each site and synapse of the calibration pass."""

    unet: SpikingUNet2DModel
    segment: Tensor
    """Noise segment of each state, int64 [N]."""
    spec: CalibrationSpec
    generator: torch.Generator
    solve: Solve
    advance: Advance
    emitted: dict[nn.Module, Tensor]
    """What neurons handed on to their own layer's weights, SNN rows of the last tick, [N, …]."""

    def charge(self, name: str, neuron: SpikingNeuron, value: Tensor) -> None:
        """Solve the neuron's thresholds from what arrives."""
        arrived = self._snn_rows(value)
        samples = [
            sample_of(arrived[self.segment == index], neuron.dim, self.spec.positions, self.generator)
            for index in range(len(self.unet.spec.segments))
        ]
        scale, neuron.offset.data = self.solve(name, samples)
        neuron.threshold.data = scale * sum(neuron.weights)

    def pass_ann_through(self, neuron: SpikingNeuron, value: Tensor, output: Tensor) -> None:
        """ANN rows pass a neuron unchanged."""
        self._halves(output)[:, 0] = self._halves(value)[:, 0]
        self.emitted[neuron] = self._snn_rows(output)
        self.advance()

    def correct(self, layer: Corrected, input: Tensor, output: Tensor) -> None:
        """Find the layer's corrections from what its weights received, and let them act."""
        spikes = self._snn_rows(input) if layer.encoder is None else self.emitted.pop(layer.encoder)
        received = layer.received(spikes)
        ann, snn = value_of(output, 2 * len(self.segment)).chunk(2)
        residual, corrected = ann - snn, self._halves(output)[:, 1]
        for part in layer.corrections(self.spec.correction, self.spec.positions):
            rows = slice(None) if part.segment is None else self.segment == part.segment
            weight, bias = correction(
                part.linear, received[rows], residual[rows], part.strength, part.positions, self.generator
            )
            weight = layer.as_stored(weight)
            part.add(weight, bias)
            corrected[:, rows] += apply_delta(part.linear, received[rows], weight, None if part.bias is None else bias)

    def _snn_rows(self, folded: Tensor) -> Tensor:
        """The value of the SNN rows, [S·2·N, …] → [N, …]."""
        return value_of(folded, len(self.segment))

    def _halves(self, folded: Tensor) -> Tensor:
        """[S·2·N, …] → [S, 2, N, …]: ticks, ANN and SNN, states."""
        return folded.unflatten(0, (-1, 2, len(self.segment)))


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
