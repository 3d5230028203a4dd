"""What a result folder holds: a diffusers pipeline, its report with provenance, its model card, its pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import DDPMPipeline, UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.atomic_output import REPORT_FILE
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.diffusion.sampling import Drawing, SamplingError, choose_scheduler, sample
from ann2snn_diffusion.evaluation.fidelity_report import FidelityReport
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.reporting.image_grids import save_grids
from ann2snn_diffusion.reporting.model_card import model_card
from ann2snn_diffusion.reporting.picture import picture

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Writing:
    """How a result folder is written."""

    samples: int = 8
    """Images in each grid of samples.png; 0: no pictures of samples."""
    sample_steps: int = 25
    """DDIM steps behind each."""
    force: bool = False
    """Replace the folder, if this package wrote it and it is not what is read."""


def sample_grids(
    networks: Mapping[str, UNet2DModel], scheduler: Any, writing: Writing, seed: int = 0, track: Track = silent
) -> dict[str, Tensor]:
    """Images of each network from equal noise, [N, C, H, W] in [0, 1], by title; none where none are wanted.

    Where they cannot be drawn, as of a network whose images are not finite, a warning takes their place.
    """
    count, steps = writing.samples, writing.sample_steps
    if not count:
        return {}
    ddim, drawing = choose_scheduler(scheduler, "ddim"), Drawing(count, steps, seed, count)
    grids = {}
    for title, network in networks.items():
        try:
            grids[title] = sample(network, ddim, drawing, track(f"{count} images, {title}", steps))
        except SamplingError as error:
            LOG.warning("no images of %s: %s", title, error)
    return grids


def write_result(folder: Path, converted: Converted, report: FidelityReport, grids: Mapping[str, Tensor]) -> None:
    """Fill ``folder``, which exists.

    Args:
        converted: the network, its scheduler, and how it came about.
        grids: images by title for samples.png; no picture if there are none.
    """
    unet = converted.unet
    origin = {"source": converted.name, "revision": converted.revision}
    unet.register_to_config(converted_from=origin)
    DDPMPipeline(unet, converted.scheduler).save_pretrained(folder)  # pyright: ignore[reportArgumentType]
    content = {**origin, "spiking": unet.config["spiking"], "provenance": list(converted.provenance)}
    content |= report.to_dict()
    (folder / REPORT_FILE).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    card = model_card(converted.name, unet.spec, converted.provenance, report)
    (folder / "README.md").write_text(card, "utf-8")
    if grids:
        with picture(folder / "samples.png") as file:
            save_grids(file, grids)
