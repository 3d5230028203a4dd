"""States that networks are calibrated on, with what every synapse gives for them in the ANN.

The ANN is asked once, a few states at a time, for all calibrations; kept of its outputs are the places that corrections
are found from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ann2snn_diffusion.common.progress import Advance, idle
from ann2snn_diffusion.common.shares import ALONE, Shares
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.corrected import Corrected, Correction
from ann2snn_diffusion.spiking.folding import require_ann
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration.correct import Places, outputs_at, sufficient
from calibration.observe import visiting

KEPT_AS = torch.bfloat16
"""Of the ANN's outputs: corrections are means over thousands, in which what this rounds away averages out."""
Batch = tuple[Tensor, Tensor, Tensor | None]
"""Noisy images x_s, [N, C, H, W]; what the network is told of their noise levels, [N]; class labels, or None."""


def rows_of_batch(batch: Batch, rows: Tensor | slice) -> Batch:
    """Some states of a batch."""
    states, told, labels = batch
    return states[rows], told[rows], None if labels is None else labels[rows]


def split_batch(batch: Batch, size: int) -> list[Batch]:
    """All states of a batch, ``size`` at a time."""
    return [rows_of_batch(batch, slice(first, first + size)) for first in range(0, len(batch[0]), size)]


@dataclass(frozen=True)
class Target:
    """What a layer gives in the ANN.

    Attributes:
        places: among the outputs of the states that a correction acts on.
        output: there, [R, O], bfloat16.
    """

    places: Places
    output: Tensor


@dataclass(frozen=True)
class SeenStates:
    """N states of all noise segments: of several processes, the share of one.

    Attributes:
        segment: noise segment of each, int64 [N].
        segments: how many there are.
        targets: by synapse, one for each of its corrections; None: too few places to find it from.
        predicted: what the ANN gives in the end, [N, C, H, W].
        shares: of the processes that calibrate together.
    """

    batch: Batch
    segment: Tensor
    segments: int
    targets: Mapping[str, list[Target | None]]
    predicted: Tensor
    shares: Shares

    def __len__(self) -> int:
        return len(self.segment)

    def by_segment(self) -> list[Tensor]:
        """Rows of each noise segment, int64."""
        return [(self.segment == index).nonzero()[:, 0] for index in range(self.segments)]

    def rows(self, part: Correction) -> Tensor:
        """The rows that a correction acts on, int64."""
        return rows_of(part, self.segment)


def rows_of(part: Correction, segment: Tensor) -> Tensor:
    """The rows that a correction acts on, of states whose noise segments are ``segment``; int64."""
    every = torch.arange(len(segment), device=segment.device)
    return every if part.segment is None else every[segment == part.segment]


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


@torch.no_grad()
def seen_states(
    unet: SpikingUNet2DModel,
    batch: Batch,
    spec: CalibrationSpec,
    generator: torch.Generator,
    at_a_time: int,
    advance: Advance = idle,
    shares: Shares = ALONE,
) -> SeenStates:
    """Ask the ANN behind ``unet`` what each synapse gives for a batch.

    Args:
        generator: that places are drawn by.
        at_a_time: states that pass the ANN together.
        advance: called for every state.
        shares: of the processes of which each asks about a batch of its own.

    Raises:
        SpecError: a noise segment without a state.
        FoldedError: there is no ANN behind ``unet``.
    """
    require_ann(unet, "calibrate")
    segment = segments_of(unet, batch[1])
    asked = _Asked(segment, spec, generator, shares, targets={})
    layers = unet.synapses().items() if spec.correction else ()
    done, predicted = 0, []
    for some in split_batch(batch, at_a_time):
        with analog(unet), visiting(after=[(layer, partial(asked.keep, name, layer, done)) for name, layer in layers]):
            predicted.append(unet(*some).sample)
        done += len(some[0])
        advance(done)
    return SeenStates(batch, segment, len(unet.spec.segments), asked.targets, torch.cat(predicted), shares)


@dataclass(frozen=True)
class _Asked:
    """What the passes of the ANN told so far."""

    segment: Tensor
    spec: CalibrationSpec
    generator: torch.Generator
    shares: Shares
    targets: dict[str, list[Target | None]]

    def keep(self, name: str, layer: Corrected, first: int, _input: Tensor, output: Tensor) -> None:
        """Keep what a layer gives for the states from ``first`` on."""
        parts = list(layer.corrections(self.spec.correction, self.spec.positions))
        if name not in self.targets:
            self.targets[name] = [self._empty(part, output) for part in parts]
        for part, target in zip(parts, self.targets[name], strict=True):
            if target is not None:
                self._fill(part, target, first, output)

    def _empty(self, part: Correction, output: Tensor) -> Target | None:
        rows, channels = len(rows_of(part, self.segment)), len(part.linear.weight)
        positions = output[0].numel() // channels
        places = Places.drawn(rows, positions, part.positions // self.shares.processes, self.generator)
        if not sufficient(int(self.shares.total(torch.tensor(len(places.fit), device=output.device))), part.linear):
            return None
        return Target(places, output.new_empty(len(places.all), channels, dtype=KEPT_AS))

    def _fill(self, part: Correction, target: Target, first: int, output: Tensor) -> None:
        rows, positions = rows_of(part, self.segment), output[0].numel() // len(part.linear.weight)
        places = target.places.all.to(output.device)
        states = rows[places // positions] - first
        here = (states >= 0) & (states < len(output))
        wanted = outputs_at(part.linear, output, states[here] * positions + places[here] % positions)
        target.output[here] = wanted.to(KEPT_AS)
