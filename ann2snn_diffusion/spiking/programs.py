"""Networks as programs: modules of tensors alone, traced by torch.export, that run where this package is not."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ann2snn_diffusion.common.errors import A2SError, first_line
from ann2snn_diffusion.spiking.folding import fold
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.ticks import value_of
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

INPUTS = ("sample", "timestep", "class_labels")
BATCH = "batch"
LARGEST = 63
"""Rows; from 64 on diffusers takes another way through its upsampling, and a program has but one."""
OF_THIS_MACHINE = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")
"""What tracing notes of every operation: where the code lies that asked for it."""
Arguments = tuple[Tensor, Tensor, Tensor | None]
"""Input [B, C, H, W], what the network is told of the noise level [B], class labels [B, …] or None."""


class ExportError(A2SError):
    """A network that cannot become a program, or whose program gives something else."""


class Prediction(nn.Module):
    """What a network predicts."""

    def __init__(self, unet: SpikingUNet2DModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: Tensor, timestep: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """[B, C, H, W] → [B, C', H, W]."""
        return self.unet(sample, timestep, class_labels, return_dict=False)[0]


class SpikeTrains(Prediction):
    """What a network predicts, and every spike on the way: neurons hand on what these spikes sum to."""

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, sample: Tensor, timestep: Tensor, class_labels: Tensor | None = None
    ) -> dict[str, Any]:
        """``prediction`` [B, C', H, W], and by name in ``sites`` what `_emit` says."""
        sites: dict[str, dict[str, Tensor]] = {}
        with ExitStack() as hooks:
            for name, neuron in self.unet.neurons().items():
                hooks.callback(neuron.register_forward_hook(partial(_emit, sites, name, sample.shape[0])).remove)
            prediction = super().forward(sample, timestep, class_labels)
        return {"prediction": prediction, "sites": sites}


def _emit(
    sites: dict[str, dict[str, Tensor]],
    name: str,
    batch: int,
    neuron: SpikingNeuron,
    inputs: tuple[Tensor],
    _output: Tensor,
) -> Tensor:
    """Keep a site's spikes, int8 [firing steps, B, …], thresholds, offsets and activation; what its spikes sum to."""
    trains = neuron.spikes(inputs[0])
    handed_on, (unit, offset) = neuron.handed_on(trains, inputs[0]), neuron.levels(inputs[0])
    sites[name] = {
        "spikes": trains.to(torch.int8),
        "threshold": value_of(unit, batch) * sum(neuron.weights),
        "offset": value_of(offset, batch),
        "activation": value_of(handed_on, batch),
    }
    return handed_on


def to_export(unet: SpikingUNet2DModel) -> SpikingUNet2DModel:
    """A folded copy of ``unet``, in float32 on the CPU, that learns no more."""
    folded = copy.deepcopy(unet) if unet.folded else fold(unet)
    nn.Module.to(folded, "cpu", torch.float32)
    return folded.eval().requires_grad_(False)


def largest_batch(unet: SpikingUNet2DModel) -> int:
    """Rows that a program of ``unet`` takes at most; ticks of the synchronous schedule share a batch."""
    return LARGEST // (unet.spec.time_steps if unet.spec.schedule == "synchronous" else 1)


def given(arguments: Arguments) -> Mapping[str, Tensor]:
    """The arguments of a program by name: those that its network takes."""
    return {name: argument for name, argument in zip(INPUTS, arguments, strict=True) if argument is not None}


@torch.no_grad()
def traced(module: Prediction, arguments: Arguments) -> ExportedProgram:
    """The program of a module, for any batch up to `largest_batch`; ``arguments`` are an example of 2 rows or more.

    Raises:
        ExportError: torch.export cannot trace it.
    """
    example = given(arguments)
    batch = Dim(BATCH, min=1, max=largest_batch(module.unet))
    try:
        program = torch.export.export(
            module, tuple(example.values()), dynamic_shapes={name: {0: batch} for name in example}
        )
    except RuntimeError as error:
        raise ExportError(f"The network cannot be traced by torch.export: {first_line(error)}") from error
    for node in program.graph.nodes:
        for key in OF_THIS_MACHINE:
            node.meta.pop(key, None)
    return program
