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
from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec, measure_fidelity
from ann2snn_diffusion.evaluation.fidelity_report import FidelityReport
from ann2snn_diffusion.models.loading import Converted, Source
from ann2snn_diffusion.models.provenance import entry
from ann2snn_diffusion.spiking.calibrate import calibrate
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.workflows.calibration_states import calibration_states
from ann2snn_diffusion.workflows.energy_budget import Recording, calibrated_to, record
from ann2snn_diffusion.workflows.result_folder import Writing, sample_grids, write_result

MOST_DOUBLED = 5
"""Time steps of which all sites are doubled unasked: 2·5 digits are more than any site needs."""


class ConversionError(A2SError):
    """A conversion that would not be one."""


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
    def of(cls, spec: SpikeSpec | None, calibration: CalibrationSpec | None) -> Settings:
        """Fill in the energy, and what makes spikes worth it.

        Raises:
            SpecError: an energy beside a spec that it cannot be met with.
        """
        spec, calibration = spec or SpikeSpec(), calibration or CalibrationSpec()
        energy = calibration.budget(spec)
        return cls(_frugal(spec) if energy else spec, replace(calibration, energy=energy))

    def at(self, energy: float) -> Settings:
        """The same at another energy."""
        return Settings.of(self.spec, replace(self.calibration, energy=energy))


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
        unet: predicts from noisy images [N, C, H, W].
        scheduler: the DDPM-family scheduler that it was trained with.
        spec: what spikes and how.
        calibration: how thresholds and corrections are found, what the network may cost, and from which seed.
        images: calibration images [N, C, H, W] in [−1, 1]; by default the ANN's own sampling states, no data needed.
        fidelity: on how many states the report is measured.
        track: told of every stage and step.

    Raises:
        UnsupportedLayerError: a layer without a rule.
        SpecError: fewer states than noise segments; an energy out of reach.
        ConversionError: nothing spikes, or the result is not finite.
    """
    settings = Settings.of(spec, calibration)
    spiking = _calibrated(unet, scheduler, settings, images, track)
    report = measure_fidelity(spiking, scheduler, settings.calibration.seed, fidelity, track)
    return finite(Conversion(spiking, report))


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
        source: an ANN with its scheduler, as `load_source` gives it.
        output: the folder; it appears when it is complete, or not at all.
        writing: pictures, and whether a folder is replaced.

    Raises:
        OutputError: the folder exists, or cannot be written.
        ConversionError, UnsupportedLayerError, SpecError: see `convert`.
    """
    settings, writing = Settings.of(spec, calibration), writing or Writing()
    spec, calibration = settings.spec, settings.calibration
    with new_folder(output, writing.force) as folder:
        conversion = convert(
            source.unet, source.scheduler, spec=spec, calibration=calibration, images=images, track=track
        )
        networks = {"ANN": source.unet, f"SNN, T = {spec.time_steps}": conversion.unet}
        grids = sample_grids(networks, source.scheduler, writing, calibration.seed, track)
        write_result(folder, with_history(conversion, source, calibration, images), conversion.report, grids)
    return conversion


def with_history(
    conversion: Conversion, source: Source, calibration: CalibrationSpec, images: Tensor | None
) -> Converted:
    """A converted network, and how it came about."""
    data = "sampling states" if images is None else f"{len(images)} images"
    settings = {"spiking": conversion.unet.spec.to_dict(), "calibration": asdict(calibration) | {"data": data}}
    done = entry("convert", settings, None, conversion.report.figures())
    return Converted(conversion.unet, source.scheduler, source.name, source.revision, (done,))


def recorded(unet: UNet2DModel, scheduler: Any, settings: Settings, images: Tensor | None, track: Track) -> Recording:
    """What networks at any energy are made from.

    Raises:
        UnsupportedLayerError, SpecError, ConversionError, CostTableError: see `convert`.
    """
    spec, calibration = settings.spec, settings.calibration

    def draw(count: int) -> NoisyStates:
        wanted, generator = replace(calibration, states=count), stream("calibration", calibration.seed)
        return calibration_states(unet, scheduler, spec.segments, wanted, images, generator, track)

    return record(partial(_uncalibrated, unet, spec), scheduler, draw, calibration, track)


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
    unet: UNet2DModel, scheduler: Any, settings: Settings, images: Tensor | None, track: Track
) -> SpikingUNet2DModel:
    spec, calibration = settings.spec, settings.calibration
    if calibration.energy:
        recording = recorded(unet, scheduler, settings, images, track)
        return calibrated_to(calibration.energy, recording, calibration, track)
    spiking, generator = _uncalibrated(unet, spec), stream("calibration", calibration.seed)
    states = calibration_states(unet, scheduler, spec.segments, calibration, images, generator, track)
    advance = track("sites calibrated", len(spiking.neurons()))
    calibrate(spiking, states.arguments(), calibration, generator, advance=advance)
    return spiking


def _uncalibrated(unet: UNet2DModel, spec: SpikeSpec) -> SpikingUNet2DModel:
    made = SpikingUNet2DModel.from_unet(unet, spec)
    if not made.neurons():
        raise ConversionError(f"Nothing was converted: keep = {list(spec.keep)} leaves every site analog.")
    return made


def _frugal(spec: SpikeSpec) -> SpikeSpec:
    """``spec`` with what makes spikes worth their energy."""
    if not spec.doubled and spec.time_steps <= MOST_DOUBLED:
        spec = replace(spec, doubled=("*",))  # digits that nobody uses cost nothing
    return replace(spec, dead_zone=spec.schedule == "layerwise")
