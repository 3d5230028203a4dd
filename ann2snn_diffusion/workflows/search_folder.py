"""What a threshold search leaves: the model with its guidance, everything that was tried, pictures of it."""

from __future__ import annotations

import dataclasses
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.atomic_output import new_folder
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.diffusion.sampling import NotFiniteError
from ann2snn_diffusion.evaluation.fidelity import measure_fidelity
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.reporting.search_plots import plot_curve, plot_map, plot_trade_off
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.workflows.result_folder import sample_grids, write_result
from ann2snn_diffusion.workflows.search_thresholds import Search


def write_search(
    converted: Converted,
    search: Search,
    spec: SearchSpec,
    output: Path,
    force: bool = False,
    samples: int = 8,
    track: Track = silent,
) -> None:
    """Write a folder as `a2s convert` does, and in it ``threshold_search.json`` and plots.

    Args:
        samples: images in each grid; 0: no pictures of samples.

    Raises:
        OutputError: ``output`` exists, or cannot be written.
    """
    unet, scheduler = converted.unet, converted.scheduler
    report = measure_fidelity(unet, scheduler, spec.seed, track)
    unet.guidance = search.evaluations[0].guidance
    grids = _pictures("ANN", unet.ann(), scheduler, samples, spec.seed, track)
    grids |= _pictures("SNN, factor 1", unet, scheduler, samples, spec.seed, track)
    unet.guidance = search.winner.guidance
    grids |= _pictures("SNN, the winner's factors", unet, scheduler, samples, spec.seed, track)
    unet.guidance = search.guidance
    provenance = {
        "source": converted.name,
        "revision": converted.revision,
        "seed": spec.seed,
        "spiking": dict(unet.config["spiking"]),
        "training": converted.training,
    }
    settings = dataclasses.asdict(spec) | {
        "optimizer": spec.chosen_optimizer, "count": spec.searched, "held_out": spec.judged,
        "versions": {name: version(name) for name in ("torch", "diffusers", "scipy", "numpy")},
    }  # fmt: skip
    with new_folder(output, force) as folder:
        write_result(folder, unet, scheduler, provenance, report, grids)
        content = {"settings": settings, **search.to_dict()}
        (folder / "threshold_search.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        title = f"{converted.name}, {unet.spec.coding}, T = {unet.spec.time_steps}: {search.objective}"
        (plot_map if len(search.groups) > 1 else plot_curve)(folder / "search.png", search, title)
        plot_trade_off(folder / "trade_off.png", search, title)


def _pictures(
    title: str, network: UNet2DModel, scheduler: Any, count: int, seed: int, track: Track
) -> dict[str, Tensor]:
    """A grid of samples; none where a sample is not finite: a picture less, not a result less."""
    try:
        return sample_grids({title: network}, scheduler, count, seed, track)
    except NotFiniteError:
        return {}
