"""The use case: how good a converted model is beside its ANN, in figures that another run reproduces."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor

from ann2snn_diffusion.common.atomic_output import new_file
from ann2snn_diffusion.common.digest import digest
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.specs import require_whole
from ann2snn_diffusion.diffusion.sampling import choose_scheduler
from ann2snn_diffusion.evaluation.features import FeatureImages, Features
from ann2snn_diffusion.evaluation.fidelity import ImageDistance, image_distance, measure_fidelity
from ann2snn_diffusion.evaluation.image_quality import Quality, bootstrap_fids, fid, interval, quality, require_enough
from ann2snn_diffusion.evaluation.real_data import RealData, counting
from ann2snn_diffusion.evaluation.report import ConversionReport
from ann2snn_diffusion.evaluation.shards import draw_shards, read_shards, shard_files
from ann2snn_diffusion.models.loading import BUNDLED, Converted
from ann2snn_diffusion.reporting.evaluation_plots import plot_error_over_noise, plot_sites
from ann2snn_diffusion.reporting.image_grids import save_grids

ANN, SNN = "ANN", "SNN"


@dataclass(frozen=True)
class EvaluationSpec:
    """What is measured, and with which draws.

    Raises:
        SpecError: a field out of range.
    """

    count: int = 2000
    """Images that each network draws."""
    scheduler: str = "ddim"
    """As `choose_scheduler` names them."""
    steps: int = 25
    """Denoising steps."""
    seed: int = 0
    """Image i is seeded with seed + i, for both networks."""
    batch_size: int = 64
    """Images that are drawn at a time, and a shard."""
    bootstrap: int = 100
    """Resamples behind every interval."""

    def __post_init__(self) -> None:
        require_whole(self, {"count": 1, "steps": 1, "seed": 0, "batch_size": 1, "bootstrap": 2})


@dataclass(frozen=True)
class Distribution:
    """Quality of both networks' images against the same real ones."""

    quality: dict[str, Quality]
    """Of ``ANN`` and ``SNN``."""
    fid_difference: float
    """FID of the SNN minus that of the ANN."""
    fid_difference_interval: tuple[float, float]
    """95 %, bootstrapped in pairs of equal noise."""
    floor: float | None
    """FID of as many held-out real images."""
    floor_interval: tuple[float, float] | None
    """95 %, bootstrapped."""


@dataclass(frozen=True)
class Evaluation:
    """All that was measured; `to_dict` is what evaluation.json holds."""

    settings: dict[str, Any]
    fidelity: ConversionReport
    images: ImageDistance
    distribution: Distribution | None
    """None where no real images were given."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dataclasses.asdict(self)


def draw(
    converted: Converted, folder: Path, spec: EvaluationSpec, process: PartialState, track: Track = silent
) -> dict[str, Tensor]:
    """Images of the ANN and the SNN from equal noise, uint8 [N, C, H, W]; shards that are finished are not drawn again.

    Raises:
        SamplingError: unknown scheduler, or images that are not finite.
        OutputError: the folder cannot be written.
    """
    images = {}
    scheduler = choose_scheduler(converted.scheduler, spec.scheduler)
    for title, network in {ANN: converted.unet.ann(), SNN: converted.unet}.items():
        settings = (network, scheduler, spec.count, spec.steps, spec.seed, spec.batch_size)
        files = shard_files(folder, *settings)

        def announce(steps: int, title: str = title) -> Callable[[], None]:
            return track(f"images of the {title}", steps)

        draw_shards(files, *settings, process, announce)
        images[title] = read_shards(files)
    return images


def evaluate(
    converted: Converted,
    folder: Path,
    real: RealData | None = None,
    spec: EvaluationSpec | None = None,
    process: PartialState | None = None,
    track: Track = silent,
) -> tuple[Evaluation, dict[str, Tensor]] | None:
    """Draw images with both networks and measure all that is to be known of them.

    Args:
        folder: where shards of images are kept; the same call continues from there.
        real: what to measure the images against; None leaves the distribution's quality out.
        process: one of several that share the drawing; all but the main one return None.

    Returns:
        The evaluation, and the images, uint8 [N, C, H, W], by network.

    Raises:
        QualityError: too few images for the features.
        SamplingError, OutputError: see `draw`.
    """
    spec, process = spec or EvaluationSpec(), process or PartialState()
    if real is not None:
        require_enough(spec.count, real.network.width)
    images = draw(converted, folder, spec, process, track)
    if not process.is_main_process:
        return None
    distribution = None if real is None else _distribution(images, real, spec, track)
    evaluation = Evaluation(
        settings=settings_of(converted, real, spec),
        fidelity=measure_fidelity(converted.unet, converted.scheduler, spec.seed, track),
        images=image_distance(images[ANN], images[SNN]),
        distribution=distribution,
    )
    return evaluation, images


def save_plots(folder: Path, evaluation: Evaluation, images: dict[str, Tensor], shown: int = 64) -> None:
    """samples.png, error.png and sites.png in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    grids = {f"{title}, {evaluation.settings['steps']} steps": drawn[:shown] / 255 for title, drawn in images.items()}
    with new_file(folder / "samples.png") as file:
        save_grids(file, grids, columns=16)
    coding, time_steps = (evaluation.settings["spiking"][key] for key in ("coding", "time_steps"))
    title = f"{evaluation.settings['ann']}, {coding}, T = {time_steps}"
    with new_file(folder / "error.png") as file:
        plot_error_over_noise(file, evaluation.fidelity.levels, f"{title}: relative ε error over the noise level")
    with new_file(folder / "sites.png") as file:
        plot_sites(file, evaluation.fidelity.sites, f"{title}: what each site hands on, in order of execution")


def _distribution(images: dict[str, Tensor], real: RealData, spec: EvaluationSpec, track: Track) -> Distribution:
    generator = torch.Generator().manual_seed(spec.seed)
    features: dict[str, Features] = {}
    for title, drawn_images in images.items():
        advance = counting(track(f"features of the {title}", len(drawn_images)))
        features[title] = real.network(FeatureImages(drawn_images), advance=advance)
    pairs = [features[ANN].pooled, features[SNN].pooled]
    drawn = bootstrap_fids(pairs, real.reference, spec.bootstrap, generator, track("bootstrap", spec.bootstrap))
    found = {title: quality(features[title], real.reference, drawn[:, index], spec.seed)
             for index, title in enumerate((ANN, SNN))}  # fmt: skip
    difference = found[SNN].fid - found[ANN].fid
    floor = floor_interval = None
    if real.held_out is not None and len(real.held_out) >= spec.count:
        held_out = real.held_out[torch.randperm(len(real.held_out), generator=generator)[: spec.count]]
        floor = fid(held_out, real.reference)
        advance_floor = track("bootstrap, real images", spec.bootstrap)
        resampled = bootstrap_fids([held_out], real.reference, spec.bootstrap, generator, advance_floor)
        floor_interval = interval(floor, resampled[:, 0])
    return Distribution(found, difference, interval(difference, drawn[:, 1] - drawn[:, 0]), floor, floor_interval)


def settings_of(converted: Converted, real: RealData | None, spec: EvaluationSpec) -> dict[str, Any]:
    """What another run needs to come to the same figures."""
    reference = None
    if real is not None:
        reference = {
            "features": real.network.name,
            "features_digest": digest(real.network.network)[:16],
            "reference": real.reference.name,
            "reference_count": real.reference.count,
            "preparation": real.reference.preparation,
        }
    return dataclasses.asdict(spec) | {
        "ann": converted.name,
        "ann_revision": converted.revision,
        "ann_weights": "EMA" if converted.name == BUNDLED else "as published; EMA or not is not recorded",
        "ann_digest": digest(converted.unet.ann())[:16],
        "snn_digest": digest(converted.unet)[:16],
        "spiking": dict(converted.unet.config["spiking"]),
        "real": reference,
        "device": str(converted.unet.device),
        "versions": {name: version(name) for name in ("torch", "diffusers", "torch-fidelity", "numpy", "scikit-image")},
    }
