"""The use case: a pretrained ANN becomes a calibrated spiking U-Net with a report, and a folder that holds both."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.atomic_output import new_folder
from ann2snn_diffusion.common.processes import everywhere, reserved_by_main
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.common.reservation import reserved
from ann2snn_diffusion.common.shares import ALONE, Shares
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec, measure_fidelity
from ann2snn_diffusion.evaluation.fidelity_report import FidelityReport
from ann2snn_diffusion.models.loading import Converted, Source
from ann2snn_diffusion.models.provenance import entry
from ann2snn_diffusion.spiking.calibrate import calibrate
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.folding import fold
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.workflows.calibration_states import calibration_states
from ann2snn_diffusion.workflows.clipping import settle, tell_of_clip
from ann2snn_diffusion.workflows.conversion_settings import Settings
from ann2snn_diffusion.workflows.energy_budget import Recording, calibrated_to, record, seen_by
from ann2snn_diffusion.workflows.fitness import ConversionError, refuse_unfit
from ann2snn_diffusion.workflows.result_folder import Writing, sample_grids, stored_as, write_result


@dataclass(frozen=True)
class Conversion:
    """A calibrated spiking network with what was measured of it."""

    unet: SpikingUNet2DModel
    report: FidelityReport


def convert(
    unet: UNet2DModel,
    scheduler: Any,
    *,
    spec: SpikeSpec | None = None,
    calibration: CalibrationSpec | None = None,
    images: Tensor | None = None,
    fidelity: FidelitySpec | None = None,
    track: Track = silent,
) -> Conversion:
    """Convert a trained diffusers U-Net into a spiking one, without training; ``unet`` itself is left as it is.

    Args:
        unet: predicts from noisy images [N, C, H, W]; for one that takes more, see `convert_source`.
        scheduler: what it was trained with.
        spec: what spikes and how; its noise segments become those of equal noise on ``scheduler``.
        calibration: how thresholds and corrections are found, what the network may cost, and from which seed.
        images: calibration images [N, C, H, W] in [−1, 1]; by default the ANN's own sampling states, no data needed.
        fidelity: on how many states the report is measured.
        track: told of every stage and step.

    Raises:
        UnsupportedLayerError: a layer without a rule.
        SpecError: fewer states than noise segments; an energy out of reach.
        ScheduleError: a scheduler of a kind that is not known.
        ConditionError: the ANN takes more than noisy images.
        ConversionError: nothing spikes; the output of the ANN, or of the result, is not finite.
    """
    source = Source(unet, scheduler, "a network")
    return convert_source(source, spec=spec, calibration=calibration, images=images, fidelity=fidelity, track=track)


def convert_source(
    source: Source,
    *,
    spec: SpikeSpec | None = None,
    calibration: CalibrationSpec | None = None,
    images: Tensor | None = None,
    fidelity: FidelitySpec | None = None,
    track: Track = silent,
) -> Conversion:
    """`convert` an ANN, its scheduler, and the conditions that lie beside its noisy images, if it takes any.

    Raises:
        ConversionError, ConditionError, ScheduleError, UnsupportedLayerError, SpecError: see `convert`; images beside
            conditions.
    """
    refuse_unfit(source.unet, source.scheduler, source.condition)
    refuse_images(source, images)
    settings = Settings.of(spec, calibration, source.unet, source.scheduler)
    made = _calibrated(source, settings, images, track)
    return _measured(made, source, settings.calibration.seed, fidelity, track)


def convert_to_folder(
    source: Source,
    output: Path,
    *,
    spec: SpikeSpec | None = None,
    calibration: CalibrationSpec | None = None,
    images: Tensor | None = None,
    writing: Writing | None = None,
    track: Track = silent,
) -> Conversion:
    """`convert`, and write a diffusers pipeline folder with report, pictures and model card.

    Args:
        source: an ANN with its scheduler, as `load_source` gives it, and conditions if it takes any.
        output: the folder; it appears when it is complete, or not at all.
        writing: pictures, how weights are written, and whether a folder is replaced.

    Raises:
        OutputError: the folder exists, or cannot be written.
        ConversionError, ConditionError, ScheduleError, UnsupportedLayerError, SpecError: see `convert`.
    """
    refuse_unfit(source.unet, source.scheduler, source.condition)
    refuse_images(source, images)
    settings, writing = Settings.of(spec, calibration, source.unet, source.scheduler), writing or Writing()
    with reserved(output), new_folder(output, writing.force, source.folder) as folder:
        unet = _calibrated(source, settings, images, track)
        return _written(folder, unet, source, settings.calibration, images, writing, track)


def convert_together(
    source: Source,
    output: Path,
    process: PartialState,
    *,
    settings: Settings,
    images: Tensor | None = None,
    writing: Writing | None = None,
    track: Track = silent,
) -> Conversion | None:
    """`convert_to_folder` by several processes, each of which calibrates on a share of the states.

    Args:
        process: one of them. The main one measures and writes; the others return None.
        settings: what is left open in it is filled in.

    Raises:
        OutputError, ConversionError, ConditionError, ScheduleError, UnsupportedLayerError, SpecError: in all processes;
            see `convert_to_folder`.
    """
    refuse_unfit(source.unet, source.scheduler, source.condition)
    refuse_images(source, images)
    writing, shares = writing or Writing(), Shares(process)
    settings = Settings.of(settings.spec, settings.calibration, source.unet, source.scheduler, shares.processes)
    with reserved_by_main(output, process), ExitStack() as stack:
        made = new_folder(output, writing.force, source.folder)
        folder = everywhere(lambda: stack.enter_context(made), process)
        unet = _calibrated(source, settings, images, track, shares)
        if not process.is_main_process:
            return None
        return _written(folder, unet, source, settings.calibration, images, writing, track)


def _written(
    folder: Path,
    unet: SpikingUNet2DModel,
    source: Source,
    calibration: CalibrationSpec,
    images: Tensor | None,
    writing: Writing,
    track: Track,
) -> Conversion:
    """A calibrated network, measured and written."""
    conversion = _measured(unet, source, calibration.seed, None, track)
    conversion = as_written(conversion, source, calibration.seed, writing, track)
    networks = {"ANN": source.unet, f"SNN, T = {unet.spec.time_steps}": conversion.unet}
    grids = sample_grids(networks, source, writing, calibration.seed, track)
    converted = with_history(conversion, source, calibration, images, writing)
    write_result(folder, converted, conversion.report, grids, writing.dtype)
    return conversion


def refuse_images(source: Source, images: Tensor | None) -> None:
    """Refuse calibration images for an ANN that draws latents, or that takes a condition: whose is not known.

    Raises:
        ConversionError: names it.
    """
    if images is None or (source.decoder is None and source.condition is None):
        return
    why = "takes a condition" if source.decoder is None else "draws latents"
    raise ConversionError(f"images: {source.name} {why}; it is calibrated on its sampling states alone.")


def as_written(conversion: Conversion, source: Source, seed: int, writing: Writing, track: Track) -> Conversion:
    """What is loaded of a folder that is written as ``writing`` says, measured anew where that rounds or folds."""
    if writing.dtype == "float32" and not writing.folded:
        return conversion
    whole = conversion.unet
    unet = fold(whole) if writing.folded else whole
    with stored_as(unet, writing.dtype):
        pass
    report = measure_fidelity(unet, source.scheduler, seed, track=track, unfolded=whole, condition=source.condition)
    return finite(Conversion(unet, report))


def with_history(
    conversion: Conversion, source: Source, calibration: CalibrationSpec, images: Tensor | None, writing: Writing
) -> Converted:
    """A converted network, and how it came about."""
    data = "sampling states" if images is None else f"{len(images)} images"
    settings = {"spiking": conversion.unet.spec.to_dict(), "calibration": asdict(calibration) | {"data": data}}
    settings |= {"scheduler": {"kind": type(source.scheduler).__name__, "of": source.scheduler_of or source.name}}
    settings |= {"variant": source.variant, "dtype": writing.dtype, "folded": writing.folded}
    if source.condition is not None:
        settings["condition"] = f"{len(source.condition)} of {source.condition.shape[1]} channels"
    done = entry("convert", settings, None, conversion.report.figures())
    return Converted(
        conversion.unet, source.scheduler, source.name, source.revision, pipeline=source.pipeline,
        decoder=source.decoder, condition=source.condition, provenance=(done,),
    )  # fmt: skip


def recorded(
    source: Source, settings: Settings, images: Tensor | None, track: Track, shares: Shares = ALONE
) -> Recording:
    """What networks at any energy are made from.

    Raises:
        UnsupportedLayerError, SpecError, ConversionError, CostTableError: see `convert`.
    """
    spec, calibration = settings.spec, settings.calibration

    def draw(count: int) -> NoisyStates:
        wanted, generator = replace(calibration, states=count), stream("calibration", calibration.seed)
        return calibration_states(source, spec.segments, wanted, images, generator, track)

    return record(partial(uncalibrated, source, spec), source.scheduler, draw, calibration, track, shares)


def _measured(
    unet: SpikingUNet2DModel, source: Source, seed: int, fidelity: FidelitySpec | None, track: Track
) -> Conversion:
    report = measure_fidelity(unet, source.scheduler, seed, fidelity, track, condition=source.condition)
    return finite(Conversion(unet, report))


def finite(conversion: Conversion) -> Conversion:
    """``conversion``, whose output is.

    Raises:
        ConversionError: it is not.
    """
    report = conversion.report
    if not torch.isfinite(torch.tensor([report.epsilon_error, report.epsilon_error_low_noise])).all():
        raise ConversionError("The converted network's output is not finite.")
    return conversion


def _calibrated(
    source: Source, settings: Settings, images: Tensor | None, track: Track, shares: Shares = ALONE
) -> SpikingUNet2DModel:
    energy = settings.calibration.energy
    if energy:
        return calibrated_to(energy, recorded(source, settings, images, track, shares), settings.calibration, track)
    return _least_squares(source, settings, images, track, shares)


def _least_squares(
    source: Source, settings: Settings, images: Tensor | None, track: Track, shares: Shares
) -> SpikingUNet2DModel:
    spec, calibration = settings.spec, settings.calibration
    spiking, generator = uncalibrated(source, spec), stream("calibration", calibration.seed)
    states = calibration_states(source, spec.segments, calibration, images, generator, track)
    seen = seen_by(spiking, states, calibration, track, shares)
    calibrate(spiking, seen, calibration, generator, advance=track("sites calibrated", len(spiking.neurons())))
    settle(spiking, seen.batch, seen.predicted, track)
    return spiking


def uncalibrated(source: Source, spec: SpikeSpec) -> SpikingUNet2DModel:
    """The network before thresholds are set.

    Raises:
        ConversionError: nothing spikes.
        UnsupportedLayerError: a layer without a rule.
    """
    made = SpikingUNet2DModel.from_unet(source.unet, spec)
    if not made.neurons():
        raise ConversionError(f"Nothing was converted: keep = {list(spec.keep)} leaves every site analog.")
    tell_of_clip(made, source.scheduler)
    return made
