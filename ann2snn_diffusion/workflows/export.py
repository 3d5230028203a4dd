"""The use case: a converted network as a program that runs without this package."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ann2snn_diffusion.common.atomic_output import new_file, refuse_existing_file
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.common.reservation import reserved
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.common.versions import version_of
from ann2snn_diffusion.diffusion.noising import prediction_type
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.diffusion.trajectories import StatesSpec, sampling_states
from ann2snn_diffusion.evaluation.agreement import Agreement, relative_errors
from ann2snn_diffusion.evaluation.noise_strata import strata_bounds
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.models.program_file import Format, Run, loaded_program, require_format, save_program
from ann2snn_diffusion.spiking.decoding import activation_of_spikes
from ann2snn_diffusion.spiking.programs import (
    BATCH,
    ExportError,
    Prediction,
    SpikeTrains,
    given,
    largest_batch,
    to_export,
    traced,
)
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

TOGETHER = 5
"""States that pass a program together, beside one by one, where it takes as many."""
SAMPLER_STEPS = 5
DECODED_WITHIN = 1e-5
"""Of a threshold: what float32 may round where spikes are added up."""


def export(
    unet: SpikingUNet2DModel,
    scheduler: Any,
    *,
    spikes: bool = False,
    condition: Tensor | None = None,
    track: Track = silent,
) -> ExportedProgram:
    """A converted network as a torch.export program, folded, guidance inside; ``unet`` itself is left as it is.

    Args:
        scheduler: what the ANN was trained with; it says what the network is told of a noise level.
        spikes: the program also gives every site's spike trains; see `SpikeTrains`.
        condition: what lies beside noisy images, [M, C', H, W], used in turn; None: the network takes none.
        track: told of every stage and step.

    Returns:
        From ``sample`` [B, C + C', H, W], ``timestep`` [B] and, where the network takes them, ``class_labels`` [B, …]:
        what the network predicts, [B, C or 2·C, H, W].

    Raises:
        ExportError: the network cannot be traced.
        ConditionError: see `require_condition`.
    """
    network = to_export(unet)
    states = _states(network, scheduler, condition, track)
    return _program(network, states, spikes)


def export_to_file(
    converted: Converted,
    file: Path,
    *,
    kind: Format = "torch",
    spikes: bool = False,
    force: bool = False,
    track: Track = silent,
) -> Agreement:
    """`export` a converted model to a file, load that, and hold what it gives against what the network gives.

    Args:
        file: .pt2, or .onnx where ``kind`` is onnx; it appears when it has been checked, or not at all.
        force: replace a file that exists.

    Raises:
        OutputError: the file exists already, or cannot be written.
        ExportError: the network cannot be traced, or the program gives something else; a package is missing.
        SpecError: a file name or format that does not fit.
    """
    require_format(file, kind)
    require(kind == "torch" or not spikes, "spikes", spikes, "no `kind` onnx beside it: trains are given by a .pt2")
    refuse_existing_file(file, force)
    with reserved(file), new_file(file) as partial:
        network = to_export(converted.unet)
        states = _states(network, converted.scheduler, converted.condition, track)
        program = _program(network, states, spikes)
        save_program(partial, program, _metadata(converted, network, states, spikes), kind)
        return _checked(file, loaded_program(partial, kind)[0], network, states, spikes)


@torch.no_grad()
def _states(network: SpikingUNet2DModel, scheduler: Any, condition: Tensor | None, track: Track) -> NoisyStates:
    """States of the network's own sampling, one in every noise stratum, and no fewer than pass a program together."""
    starts = strata_bounds(scheduler)[:-1]
    count = max(TOGETHER, len(starts))
    wanted = StatesSpec(count, starts, per_trajectory=count, sampler_steps=SAMPLER_STEPS)
    condition = None if condition is None else condition.to(network.device)
    return sampling_states(network, scheduler, wanted, stream("export", 0), track, condition)


def _program(network: SpikingUNet2DModel, states: NoisyStates, spikes: bool) -> ExportedProgram:
    return traced((SpikeTrains if spikes else Prediction)(network), states.arguments(slice(_together(network))))


def _together(network: SpikingUNet2DModel) -> int:
    return min(TOGETHER, largest_batch(network))


@torch.no_grad()
def _checked(file: Path, run: Run, network: SpikingUNet2DModel, states: NoisyStates, spikes: bool) -> Agreement:
    """What a program gives, beside what the network gives.

    Raises:
        ExportError: something else, or trains that stand for something else.
    """

    def predicted(some: NoisyStates) -> Tensor:
        found = run(given(some.arguments()))
        if spikes:
            _check_trains(file, found["sites"], network)
        return found["prediction"] if spikes else found

    def of_network(some: NoisyStates) -> Tensor:
        return network(*some.arguments()).sample

    def by(size: int, predict: Callable[[NoisyStates], Tensor]) -> Tensor:
        return torch.cat([predict(some) for some in states.split(size)])

    expected = {size: by(size, of_network) for size in (1, _together(network))}
    errors = {size: relative_errors(by(size, predicted), of_size) for size, of_size in expected.items()}
    agreement = Agreement(errors, own=relative_errors(*expected.values()))
    if not agreement.holds:
        raise ExportError(f"{file}: the program does not give what the network gives: {agreement.in_words()}; expected "
                          f"{agreement.allowed:.1e}; nothing was written.")  # fmt: skip
    return agreement


def _check_trains(file: Path, sites: dict[str, dict[str, Tensor]], network: SpikingUNet2DModel) -> None:
    told = _sites(network)
    for name, site in sites.items():
        spikes, threshold, offset, activation = (
            site[part].numpy() for part in ("spikes", "threshold", "offset", "activation")
        )
        decoded = activation_of_spikes(spikes, threshold, offset, told[name]["step_weights"], told[name]["amplitudes"])
        if (abs(decoded - activation) > DECODED_WITHIN * (threshold + abs(offset))).any():
            raise ExportError(f"{file}: the spikes of {name} do not sum to its activation; nothing was written.")


def _metadata(converted: Converted, network: SpikingUNet2DModel, states: NoisyStates, spikes: bool) -> dict[str, Any]:
    """What is known of a program, JSON-ready."""
    spec, scheduler = network.spec.to_dict(), cast(Any, converted.scheduler)
    inputs = {
        name: {"shape": [BATCH, *tensor.shape[1:]], "dtype": str(tensor.dtype).removeprefix("torch.")}
        for name, tensor in given(states.arguments()).items()
    }
    told = {
        "made_by": {name: version_of(name) for name in ("ann2snn-diffusion", "torch")},
        "source": converted.name,
        "revision": converted.revision,
        **{name: spec[name] for name in ("time_steps", "coding", "schedule", "segments", "guidance")},
        "inputs": inputs,
        "largest_batch": largest_batch(network),
        "predicts": prediction_type(scheduler),
        "scheduler": json.loads(scheduler.to_json_string()),
    }
    return told | ({"sites": _sites(network)} if spikes else {})


def _sites(network: SpikingUNet2DModel) -> dict[str, dict[str, Any]]:
    """What stands beside the trains of each site."""
    return {
        name: {
            "step_weights": list(neuron.weights),
            "amplitudes": list(neuron.weights) if neuron.amplitudes is None else neuron.amplitudes.tolist(),
            "signed": neuron.signed,
            "doubled": neuron.doubled,
            "channel_axis": neuron.dim,
        }
        for name, neuron in network.neurons().items()
    }
