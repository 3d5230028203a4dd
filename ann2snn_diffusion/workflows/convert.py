"""The use case: a pretrained ANN becomes a calibrated spiking U-Net with a report, and a folder that holds both."""

from __future__ import annotations

from collections.abc import Callable
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
from ann2snn_diffusion.common.reservation import reserved
from ann2snn_diffusion.diffusion.conditioning import draw_labels
from ann2snn_diffusion.diffusion.memory import require_memory
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates, noisy_images, spread_over
from ann2snn_diffusion.diffusion.trajectories import StatesSpec, sampling_states
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec, measure_fidelity
from ann2snn_diffusion.evaluation.fidelity_report import FidelityReport
from ann2snn_diffusion.models.loading import Converted, Source
from ann2snn_diffusion.models.provenance import entry
from ann2snn_diffusion.spiking.calibrate import calibrate
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.workflows.energy_budget import calibrated_to_energy
from ann2snn_diffusion.workflows.result_folder import Writing, sample_grids, write_result

CALIBRATION_STATES_PER_TRAJECTORY = 16
COUNTED_SHARE = 2
"""For so many states that are calibrated on there is another that spikes are counted on."""


class ConversionError(A2SError):
    """A conversion that would not be one."""


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
        unet: predicts from noisy images [N, C, H, W].
        scheduler: the DDPM-family scheduler that it was trained with.
        spec: what spikes and how.
        calibration: how thresholds and corrections are found, and from which seed.
        images: calibration images [N, C, H, W] in [−1, 1]; by default the ANN's own sampling states, no data needed.
        fidelity: on how many states the report is measured.
        track: told of every stage and step.

    Raises:
        UnsupportedLayerError: a layer without a rule.
        SpecError: fewer states than noise segments.
        ConversionError: nothing spikes, or the result is not finite.
    """
    spec, calibration = spec or SpikeSpec(), calibration or CalibrationSpec()
    if calibration.energy and not spec.doubled:
        spec = replace(spec, doubled=("*",))  # digits that nobody uses cost nothing
    require_memory("states", calibration.states, unet)
    make = partial(SpikingUNet2DModel.from_unet, unet, spec)
    spiking = make()
    if not spiking.neurons():
        raise ConversionError(f"Nothing was converted: keep = {list(spec.keep)} leaves every site analog.")
    spiking = _calibrated(spiking, make, unet, scheduler, calibration, images, track)
    report = measure_fidelity(spiking, scheduler, calibration.seed, fidelity, track)
    if not torch.isfinite(torch.tensor([report.epsilon_error, report.epsilon_error_low_noise])).all():
        raise ConversionError("The converted network's output is not finite.")
    return Conversion(spiking, report)


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
    spec, calibration, writing = spec or SpikeSpec(), calibration or CalibrationSpec(), writing or Writing()
    with reserved(output), new_folder(output, writing.force, source.folder) as folder:
        conversion = convert(
            source.unet, source.scheduler, spec=spec, calibration=calibration, images=images, track=track
        )
        data = "sampling states" if images is None else f"{len(images)} images"
        settings = {"spiking": conversion.unet.spec.to_dict(), "calibration": asdict(calibration) | {"data": data}}
        done = entry("convert", settings, None, conversion.report.figures())
        converted = Converted(conversion.unet, source.scheduler, source.name, source.revision, provenance=(done,))
        networks = {"ANN": source.unet, f"SNN, T = {spec.time_steps}": conversion.unet}
        grids = sample_grids(networks, source.scheduler, writing, calibration.seed, track)
        write_result(folder, converted, conversion.report, grids)
    return conversion


def _calibrated(
    spiking: SpikingUNet2DModel, make: Callable[[], SpikingUNet2DModel], unet: UNet2DModel, scheduler: Any,
    calibration: CalibrationSpec, images: Tensor | None, track: Track,
) -> SpikingUNet2DModel:  # fmt: skip
    """``spiking``, or at an energy perhaps another that ``make`` made, calibrated."""
    generator, count = stream("calibration", calibration.seed), calibration.states
    states = partial(_states, unet, scheduler, spiking.spec, images=images, generator=generator, track=track)
    if not calibration.energy:
        advance = track("sites calibrated", len(spiking.neurons()))
        calibrate(spiking, states(calibration).arguments(), calibration, generator, advance=advance)
        return spiking
    more = max(count // COUNTED_SHARE, len(spiking.spec.segments))
    drawn = states(replace(calibration, states=count + more))
    seen, counted = drawn.part(slice(0, count)), drawn.part(slice(count, count + more))
    return calibrated_to_energy(spiking, make, scheduler, seen, counted, calibration, track)


def _states(
    unet: UNet2DModel, scheduler: Any, spec: SpikeSpec, calibration: CalibrationSpec, *, images: Tensor | None,
    generator: torch.Generator, track: Track,
) -> NoisyStates:  # fmt: skip
    """What is calibrated on: the ANN's own sampling states, or ``images`` with noise."""
    count = calibration.states
    if images is None:
        wanted = StatesSpec(count, spec.segments, CALIBRATION_STATES_PER_TRAJECTORY, calibration.sampler_steps)
        return sampling_states(unet, scheduler, wanted, generator, track)
    last = len(scheduler.alphas_cumprod)
    diffusion_timesteps = spread_over(spec.segments, last, count, generator).to(unet.device)
    states = noisy_images(images.to(unet.device), diffusion_timesteps, scheduler, generator)
    return NoisyStates(states, diffusion_timesteps, draw_labels(unet, count, generator))
