"""What a result folder holds: a diffusers pipeline, its report, its model card, its pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDPMPipeline, UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.diffusion.sampling import choose_scheduler, sample
from ann2snn_diffusion.evaluation.report import ConversionReport
from ann2snn_diffusion.reporting.image_grids import save_grids
from ann2snn_diffusion.reporting.model_card import model_card
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

SAMPLE_STEPS = 25


def sample_grids(
    networks: Mapping[str, UNet2DModel], scheduler: Any, count: int, seed: int = 0, track: Track = silent
) -> dict[str, Tensor]:
    """``count`` images of each network from equal noise, [N, C, H, W] in [0, 1], by title; none if 0."""
    if not count:
        return {}
    ddim = choose_scheduler(scheduler, "ddim")
    return {
        title: sample(network, ddim, count, SAMPLE_STEPS, seed, count, track(f"{count} images, {title}", SAMPLE_STEPS))
        for title, network in networks.items()
    }


def write_result(
    folder: Path,
    unet: SpikingUNet2DModel,
    scheduler: Any,
    provenance: Mapping[str, Any],
    report: ConversionReport,
    grids: Mapping[str, Tensor],
) -> None:
    """Fill ``folder``, which exists.

    Args:
        provenance: JSON-ready; with ``report`` it makes conversion_report.json.
        grids: images by title for samples.png; no picture if there are none.
    """
    DDPMPipeline(unet, scheduler).save_pretrained(folder)  # pyright: ignore[reportArgumentType]
    versions = {"torch": str(torch.__version__), "diffusers": diffusers.__version__}
    content = {**provenance, "versions": versions, **report.to_dict()}
    (folder / "conversion_report.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    (folder / "README.md").write_text(model_card(provenance, report))
    if grids:
        save_grids(folder / "samples.png", grids)
