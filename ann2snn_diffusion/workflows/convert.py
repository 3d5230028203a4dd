"""The use case: a pretrained ANN becomes a calibrated spiking U-Net with a report, and a folder that holds both."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.atomic_output import new_folder
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.common.reservation import reserved
from ann2snn_diffusion.diffusion.memory import require_memory_of_passes
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
from ann2snn_diffusion.workflows.calibration_states import calibration_states, state_count
from ann2snn_diffusion.workflows.clipping import settle, tell_of_clip
from ann2snn_diffusion.workflows.energy_budget import Recording, calibrated_to, record, seen_by
from ann2snn_diffusion.workflows.fitness import ConversionError, on_schedule, refuse_unfit
from ann2snn_diffusion.workflows.result_folder import Writing, sample_grids, stored_as, write_result

MOST_DOUBLED = 5
"""Time steps of which all sites are doubled unasked: 2·5 digits are more than any site needs."""


@dataclass(frozen=True)
class Conversion:
    """A calibrated spiking network with what was measured of it."""

    unet: SpikingUNet2DModel
    report: FidelityReport


@dataclass(frozen=True)
class Settings:
    """What a conversion is asked for, with nothing left open."""

    spec: SpikeSpec
    calibration: CalibrationSpec

    @classmethod
    def of(
        cls, spec: SpikeSpec | None, calibration: CalibrationSpec | None, unet: UNet2DModel, scheduler: Any
    ) -> Settings:
        """Fill in the energy, what makes spikes worth it, and the states, and move noise segments to a scheduler's own.

        Raises:
            SpecError: an energy beside a spec that it cannot be met with; more states than memory holds.
        """
        spec, calibration = on_schedule(spec or SpikeSpec(), scheduler), calibration or CalibrationSpec()
        energy = calibration.budget(spec)
        if energy:
            spec = _frugal(spec)
        states = state_count(calibration, unet, len(spec.segments))
        require_memory_of_passes("states", states, unet)
        return cls(replace(spec, dead_zone=bool(spec.dead_zone)), replace(calibration, energy=energy, states=states))


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
    return _converted(source, settings, images=images, fidelity=fidelity, track=track)


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
    seed = settings.calibration.seed
    with reserved(output), new_folder(output, writing.force, source.folder) as folder:
        conversion = _converted(source, settings, images=images, track=track)
        conversion = as_written(conversion, source, seed, writing, track)
        networks = {"ANN": source.unet, f"SNN, T = {settings.spec.time_steps}": conversion.unet}
        grids = sample_grids(networks, source, writing, seed, track)
        converted = with_history(conversion, source, settings.calibration, images, writing)
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


def recorded(source: Source, settings: Settings, images: Tensor | None, track: Track) -> Recording:
    """What networks at any energy are made from.

    Raises:
        UnsupportedLayerError, SpecError, ConversionError, CostTableError: see `convert`.
    """
    spec, calibration = settings.spec, settings.calibration

    def draw(count: int) -> NoisyStates:
        wanted, generator = replace(calibration, states=count), stream("calibration", calibration.seed)
        return calibration_states(source, spec.segments, wanted, images, generator, track)

    return record(partial(_uncalibrated, source, spec), source.scheduler, draw, calibration, track)


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


def _converted(
    source: Source, settings: Settings, *, images: Tensor | None, fidelity: FidelitySpec | None = None, track: Track
) -> Conversion:
    energy, seed = settings.calibration.energy, settings.calibration.seed
    if energy:  # without a name for the recording, so that it is let go before the network is measured
        made = calibrated_to(energy, recorded(source, settings, images, track), settings.calibration, track)
    else:
        made = _least_squares(source, settings, images, track)
    return _measured(made, source, seed, fidelity, track)


def _least_squares(source: Source, settings: Settings, images: Tensor | None, track: Track) -> SpikingUNet2DModel:
    spec, calibration = settings.spec, settings.calibration
    spiking, generator = _uncalibrated(source, spec), stream("calibration", calibration.seed)
    states = calibration_states(source, spec.segments, calibration, images, generator, track)
    seen = seen_by(spiking, states, calibration, track)
    calibrate(spiking, seen, calibration, generator, advance=track("sites calibrated", len(spiking.neurons())))
    settle(spiking, seen.batch, seen.predicted, track)
    return spiking


def _uncalibrated(source: Source, spec: SpikeSpec) -> SpikingUNet2DModel:
    made = SpikingUNet2DModel.from_unet(source.unet, spec)
    if not made.neurons():
        raise ConversionError(f"Nothing was converted: keep = {list(spec.keep)} leaves every site analog.")
    tell_of_clip(made, source.scheduler)
    return made


def _frugal(spec: SpikeSpec) -> SpikeSpec:
    """``spec`` with what makes spikes worth their energy."""
    if not spec.doubled and spec.time_steps <= MOST_DOUBLED:
        spec = replace(spec, doubled=("*",))  # digits that nobody uses cost nothing
    if spec.dead_zone is None:
        spec = replace(spec, dead_zone=spec.schedule == "layerwise")
    return spec
