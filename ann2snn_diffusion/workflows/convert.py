"""The use case: a pretrained ANN becomes a calibrated spiking U-Net with a report, and a folder that holds both."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.atomic_output import new_folder
from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.data.image_files import noisy_images
from ann2snn_diffusion.diffusion.trajectories import draw_labels, record, spread_over_segments
from ann2snn_diffusion.evaluation.fidelity import measure_fidelity
from ann2snn_diffusion.evaluation.report import ConversionReport
from ann2snn_diffusion.models.loading import Source
from ann2snn_diffusion.spiking.calibrate import CalibrationSpec, calibrate
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.workflows.result_folder import sample_grids, write_result

STATES_PER_TRAJECTORY = 16


class ConversionError(A2SError):
    """A conversion that would not be one."""


@dataclass(frozen=True)
class Conversion:
    """A calibrated spiking network with what was measured of it."""

    unet: SpikingUNet2DModel
    report: ConversionReport


def convert(
    unet: UNet2DModel,
    scheduler: Any,
    spec: SpikeSpec | None = None,
    calibration: CalibrationSpec | None = None,
    seed: int = 0,
    images: Tensor | None = None,
    track: Track = silent,
) -> Conversion:
    """Convert a trained diffusers U-Net; ``unet`` itself is left as it is.

    Args:
        scheduler: the DDPM-family scheduler that the network was trained with.
        images: calibration images [N, C, H, W] in [−1, 1]; by default the ANN's own sampling states, no data needed.
        seed: of the states and of the positions that thresholds are solved from.

    Raises:
        UnsupportedLayerError: a layer without a rule.
        ConversionError: nothing spikes, or the result is not finite.
    """
    spec, calibration = spec or SpikeSpec(), calibration or CalibrationSpec()
    generator = torch.Generator().manual_seed(seed)
    spiking = SpikingUNet2DModel.from_unet(unet, spec)
    if not spiking.neurons():
        raise ConversionError(f"Nothing was converted: keep = {list(spec.keep)} leaves every site analog.")

    calibrating = -(-calibration.states // STATES_PER_TRAJECTORY)
    trajectories = record(
        unet, scheduler, calibrating, calibration.sampler_steps, generator,
        track("ANN trajectories", calibration.sampler_steps),
    )  # fmt: skip
    last = len(trajectories.alphas_cumprod)
    diffusion_timesteps = spread_over_segments(spec.segments, last, calibration.states, generator).to(unet.device)
    if images is None:
        rows = torch.randint(calibrating, (calibration.states,), generator=generator).to(unet.device)
        states, labels = trajectories.states(rows, diffusion_timesteps)
    else:
        alphas_cumprod = trajectories.alphas_cumprod
        states = noisy_images(images.to(unet.device), diffusion_timesteps, alphas_cumprod, generator)
        labels = draw_labels(unet, len(states), generator)
    calibrate(
        spiking, states, diffusion_timesteps, calibration, generator,
        track("sites calibrated", len(spiking.neurons())), labels,
    )  # fmt: skip

    report = measure_fidelity(spiking, scheduler, seed, track)
    if not torch.isfinite(torch.tensor([report.epsilon_error, report.epsilon_error_low_noise])).all():
        raise ConversionError("The converted network's output is not finite.")
    return Conversion(spiking, report)


def convert_to_folder(
    source: Source,
    output: Path,
    spec: SpikeSpec,
    calibration: CalibrationSpec,
    seed: int = 0,
    images: Tensor | None = None,
    force: bool = False,
    samples: int = 8,
    track: Track = silent,
) -> ConversionReport:
    """Convert and write a diffusers pipeline folder with report, pictures and model card.

    Raises:
        OutputError: the folder exists, or cannot be written.
        ConversionError, UnsupportedLayerError: see `convert`.
    """
    with new_folder(output, force) as folder:
        conversion = convert(source.unet, source.scheduler, spec, calibration, seed, images, track)
        data = "sampling states" if images is None else f"{len(images)} images"
        provenance = {
            "source": source.name,
            "revision": source.revision,
            "seed": seed,
            "spiking": spec.to_dict(),
            "calibration": asdict(calibration) | {"data": data},
        }
        networks = {"ANN": source.unet, f"SNN, T = {spec.time_steps}": conversion.unet}
        grids = sample_grids(networks, source.scheduler, samples, seed, track)
        write_result(folder, conversion.unet, source.scheduler, provenance, conversion.report, grids)
    return conversion.report
