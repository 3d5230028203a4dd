"""The use case: a pretrained ANN becomes a calibrated spiking U-Net with a report, and a folder that holds both."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDPMPipeline, UNet2DModel
from torch import Tensor

from ann2snn_diffusion.artifact import new_folder
from ann2snn_diffusion.calibrate import CalibrationSpec, calibrate
from ann2snn_diffusion.card import model_card
from ann2snn_diffusion.compare import CHUNK, compare
from ann2snn_diffusion.errors import A2SError
from ann2snn_diffusion.images import noisy_images
from ann2snn_diffusion.noise_levels import LEVEL_STARTS, noise_levels
from ann2snn_diffusion.pictures import save_grids
from ann2snn_diffusion.progress import Track, silent
from ann2snn_diffusion.report import ConversionReport, summarise
from ann2snn_diffusion.sample import choose_scheduler, sample
from ann2snn_diffusion.source import Source
from ann2snn_diffusion.spec import SpikeSpec
from ann2snn_diffusion.trajectories import draw_labels, record, spread_over_segments
from ann2snn_diffusion.unet import SpikingUNet2DModel

STATES_PER_TRAJECTORY = 16
MEASURED_TRAJECTORIES = 8
MEASURED_STATES = MEASURED_TRAJECTORIES * len(LEVEL_STARTS)


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
        unet, scheduler, calibrating + MEASURED_TRAJECTORIES, calibration.sampler_steps, generator,
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

    measured = spread_over_segments(LEVEL_STARTS, last, MEASURED_STATES, generator).to(unet.device)
    rows = calibrating + torch.randint(MEASURED_TRAJECTORIES, (MEASURED_STATES,), generator=generator)
    states, labels = trajectories.states(rows.to(unet.device), measured)
    comparison = compare(
        spiking, states, measured, labels, track("compared with the ANN", -(-MEASURED_STATES // CHUNK))
    )
    report = summarise(comparison, noise_levels(comparison, measured, last))
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
    sample_steps: int = 25,
    track: Track = silent,
) -> ConversionReport:
    """Convert and write a diffusers pipeline folder with report, pictures and model card.

    Raises:
        OutputError: the folder exists, or cannot be written.
        ConversionError, UnsupportedLayerError: see `convert`.
    """
    with new_folder(output, force) as folder:
        conversion = convert(source.unet, source.scheduler, spec, calibration, seed, images, track)
        DDPMPipeline(conversion.unet, source.scheduler).save_pretrained(folder)  # pyright: ignore[reportArgumentType]
        provenance = {
            "source": source.name,
            "revision": source.revision,
            "seed": seed,
            "spiking": spec.to_dict(),
            "calibration": asdict(calibration)
            | {"data": "sampling states" if images is None else f"{len(images)} images"},
            "versions": {"torch": str(torch.__version__), "diffusers": diffusers.__version__},
        }
        content = provenance | conversion.report.to_dict()
        (folder / "conversion_report.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        (folder / "README.md").write_text(model_card(source.name, provenance, conversion.report))
        if samples:
            scheduler = choose_scheduler(source.scheduler, "ddim")
            grids = {}
            for title, network in {"ANN": source.unet, f"SNN, T = {spec.time_steps}": conversion.unet}.items():
                advance = track(f"{samples} images, {title}", sample_steps)
                grids[title] = sample(network, scheduler, samples, sample_steps, seed, samples, advance)
            save_grids(folder / "samples.png", grids)
    return conversion.report
