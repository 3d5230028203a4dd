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
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ann2snn_diffusion.common.specs import is_number, require, require_whole
from ann2snn_diffusion.spiking.layers import CorrectedConv2d, CorrectedLinear, SpikingOutput
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration import solve
from calibration.correct import apply_delta, correction
from calibration.observe import After, draw_rows, visiting

OUTPUT_STRENGTH = 1e-2
"""Ridge strength of the output's corrections relative to that of all others: they have few inputs and many positions,
and exchange the image that spikes carry for the image itself, two large weights that nearly cancel."""
OUTPUT_POSITIONS = 16

Method = Literal["least-squares", "max", "percentile"]


@dataclass(frozen=True)
class CalibrationSpec:
    """How thresholds and corrections are found.

    Raises:
        SpecError: a field out of range.
    """

    method: Method = "least-squares"
    """least-squares: minimal squared error, with offset; max and percentile: the literature's baselines, offset 0."""
    percentile: float = 99.9
    """Percent of the magnitudes that lie below the highest level; method percentile only."""
    per: Literal["channel", "tensor"] = "channel"
    """One threshold per channel, or one for all channels of a site."""
    correction: float = 1e-3
    """Least relative ridge strength of the synapses' correction; 0: leave the weights alone."""
    states: int = 352
    """Noisy images that the calibration pass holds in memory at once."""
    positions: int = 1024
    """Positions per site and noise segment that thresholds are solved from."""
    sampler_steps: int = 25
    """DDIM steps of the trajectories that the states come from."""

    def __post_init__(self) -> None:
        for field, choices in (("method", get_args(Method)), ("per", ("channel", "tensor"))):
            require(getattr(self, field) in choices, field, getattr(self, field), "one of " + ", ".join(choices))
        require(
            is_number(self.percentile, 0, 100) and self.percentile > 0,
            "percentile",
            self.percentile,
            "a number in (0, 100]",
        )
        require(is_number(self.correction, 0), "correction", self.correction, "a number from 0")
        require_whole(self, {"states": 1, "positions": 1, "sampler_steps": 1})


@torch.no_grad()
def calibrate(
    unet: SpikingUNet2DModel,
    states: Tensor,
    diffusion_timesteps: Tensor,
    spec: CalibrationSpec,
    generator: torch.Generator,
    advance: Callable[[], None] = lambda: None,
    class_labels: Tensor | None = None,
) -> None:
    """Set all thresholds, offsets and corrected weights of ``unet`` in place.

    Args:
        states: noisy images x_t, [N, C, H, W], over all noise segments.
        diffusion_timesteps: their noise levels, int64 [N].
        advance: called after every site, for progress.
        class_labels: for class-conditional networks, [N].

    Raises:
        SpecError: a noise segment without a state.
    """
    segment = unet.segment_of(diffusion_timesteps)
    for index, start in enumerate(unet.spec.segments):
        expected = f"more, so that the noise segment from diffusion timestep {start} has one"
        require(bool((segment == index).any()), "states", len(states), expected)
    received: dict[nn.Module, Tensor] = {}

    def charge(neuron: SpikingNeuron, value: Tensor) -> None:
        arrived = _halves(unet, value)[-1, 1]
        for index in range(len(unet.spec.segments)):
            rows = draw_rows(arrived[segment == index], neuron.dim, spec.positions, generator)
            set_threshold(neuron, index, rows, spec)

    def pass_ann_through(neuron: SpikingNeuron, value: Tensor, output: Tensor) -> None:
        halves = _halves(unet, output)
        halves[:, 0] = _halves(unet, value)[:, 0]
        received[neuron] = halves[-1, 1]
        advance()

    def correct(layer: CorrectedConv2d | CorrectedLinear, input: Tensor, output: Tensor) -> None:
        # A spiking layer's own neuron stands between its input and its weights.
        spikes = received.pop(neuron) if (neuron := getattr(layer, "neuron", None)) else _halves(unet, input)[-1, 1]
        halves = _halves(unet, output)
        residual = halves[-1, 0] - halves[-1, 1]
        if isinstance(layer, SpikingOutput):
            correct_output(layer, spikes, residual, halves[:, 1])
            return
        count = 4 * spec.positions + 2 * layer.weight[0].numel()
        weight, bias = correction(layer, spikes, residual, spec.correction, count, generator)
        layer.weight_correction.data += weight
        if layer.bias_correction is not None:
            layer.bias_correction.data += bias
        halves[:, 1] += apply_delta(layer, spikes, weight, None if layer.bias is None else bias)

    def correct_output(layer: SpikingOutput, spikes: Tensor, residual: Tensor, output: Tensor) -> None:
        image = unet.forward_pass.image
        assert image is not None, "a forward pass is under way"
        received = torch.cat([spikes, _halves(unet, image)[-1, 1]], dim=1)
        part = layer.correction_of_segment()
        count = OUTPUT_POSITIONS * spec.positions
        for index in range(len(unet.spec.segments)):
            rows = segment == index
            weight, bias = correction(
                part, received[rows], residual[rows], OUTPUT_STRENGTH * spec.correction, count, generator
            )
            layer.weight_correction.data[index] += weight
            layer.bias_correction.data[index] += bias
            output[:, rows] += apply_delta(part, received[rows], weight, bias)

    neurons = unet.neurons().values()
    after: list[tuple[nn.Module, After]] = [(neuron, partial(pass_ann_through, neuron)) for neuron in neurons]
    if spec.correction:
        after += [(layer, partial(correct, layer)) for layer in synapses(unet).values()]
    labels = None if class_labels is None else torch.cat([class_labels, class_labels])
    with visiting([(neuron, partial(charge, neuron)) for neuron in neurons], after):
        unet(torch.cat([states, states]), torch.cat([diffusion_timesteps, diffusion_timesteps]), labels)


def set_threshold(neuron: SpikingNeuron, segment: int, values: Tensor, spec: CalibrationSpec) -> None:
    """Solve threshold and offset of one noise segment from values [N, C] that arrived there."""
    lowest, highest = neuron.level_range
    channels = values.shape[1]
    if spec.per == "tensor":
        values = values.flatten()[:, None]
    if spec.method == "least-squares":
        scale, offset = solve.least_squares(values, lowest, highest)
    else:
        scale, offset = solve.percentile(values, lowest, highest, 100 if spec.method == "max" else spec.percentile)
    neuron.threshold.data[segment] = (scale * sum(neuron.weights)).expand(channels)
    neuron.offset.data[segment] = offset.expand(channels)


def synapses(unet: nn.Module) -> dict[str, CorrectedConv2d | CorrectedLinear]:
    """Every layer with weights that receives spikes, by qualified name."""
    return {
        name: module for name, module in unet.named_modules() if isinstance(module, CorrectedConv2d | CorrectedLinear)
    }


def _halves(unet: SpikingUNet2DModel, folded: Tensor) -> Tensor:
    """[S·2·N, …] → [S, 2, N, …]: ticks, ANN and SNN, states; the last tick's running mean is the value."""
    return folded.unflatten(0, (unet.forward_pass.ticks, 2, -1))
