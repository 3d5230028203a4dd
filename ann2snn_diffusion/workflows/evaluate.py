"""The use case: how good a converted model is beside its ANN, in figures that another run reproduces."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.atomic_output import OutputError, new_file, occupied, refuse_file
from ann2snn_diffusion.common.digest import digest, digest_of
from ann2snn_diffusion.common.processes import everywhere, reserved_by_main
from ann2snn_diffusion.common.progress import Advance, Track, silent
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.common.versions import version_of
from ann2snn_diffusion.diffusion.memory import require_memory
from ann2snn_diffusion.diffusion.samplers import sampler_name
from ann2snn_diffusion.diffusion.sampling import Drawing, choose_scheduler
from ann2snn_diffusion.evaluation.class_shares import class_shares, labels_in_words
from ann2snn_diffusion.evaluation.features import FeatureImages, Features
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec, image_distance, measure_fidelity
from ann2snn_diffusion.evaluation.figures import ANN, SNN, Distribution, Evaluation
from ann2snn_diffusion.evaluation.image_quality import bootstrap_fids, fid, interval, quality, require_enough
from ann2snn_diffusion.evaluation.real_data import RealData
from ann2snn_diffusion.evaluation.records import EVALUATION_FILE
from ann2snn_diffusion.evaluation.shards import draw_shards, read_shards, shard_files
from ann2snn_diffusion.evaluation.spec import EvaluationSpec
from ann2snn_diffusion.models.folders import BUNDLED, read_json
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.reporting.evaluation_plots import PLOTS, save_plots
from ann2snn_diffusion.spiking.folding import require_ann
from ann2snn_diffusion.spiking.modes import fused_where_it_pays
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel


def evaluate(
    unet: SpikingUNet2DModel,
    scheduler: Any,
    *,
    spec: EvaluationSpec | None = None,
    real: RealData | None = None,
    shards: Path | None = None,
    process: PartialState | None = None,
    track: Track = silent,
) -> Evaluation | None:
    """Draw images with a converted network and with its ANN from equal noise, and measure all that is to be known.

    Args:
        unet: as `convert` makes it; what it draws is measured as it is, latents too.
        scheduler: what the ANN was trained with.
        real: what to measure the images against; None leaves the distribution's quality out.
        spec: how many images, drawn how; with count 0, 2,000 of them, and 64 without ``real``. Name the count where
            only one of several processes has ``real``.
        shards: folder where images are kept as they are drawn; the same call continues from there. None: nowhere.
        process: one of several that share the drawing; all but the main one return None.

    Raises:
        QualityError: too few images for the features.
        SamplingError: unknown scheduler, or images that are not finite.
        OutputError: the folder cannot be written.
        FoldedError: ``unet`` is folded.
    """
    converted = Converted(unet, scheduler, "a network")
    return _evaluated(converted, spec or EvaluationSpec(), real, shards, process or PartialState(), track)


def _evaluated(
    converted: Converted,
    spec: EvaluationSpec,
    real: RealData | None,
    shards: Path | None,
    process: PartialState,
    track: Track,
) -> Evaluation | None:
    """`evaluate`, of images that the model's decoder makes, if it has one."""
    require_ann(converted.unet, "an evaluation")
    unet, scheduler = converted.unet, converted.scheduler
    sampler, count = choose_scheduler(scheduler, spec.scheduler), spec.drawn(bundled=real is not None, data=False)
    spec = dataclasses.replace(spec, count=count, scheduler=sampler_name(type(sampler)))
    if real is not None:
        require_enough(spec.count, real.network.width)
    require_memory("count", spec.count, unet)
    ann, drawing = unet.ann(), _drawing(converted, spec, real, process)
    with ExitStack() as stack:
        folder = shards or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        images = {
            title: _draw(network, sampler, folder, drawing, process, partial(track, f"images of the {title}"))
            for title, network in {ANN: ann, SNN: unet}.items()
        }
    if not process.is_main_process:
        return None
    states = FidelitySpec(spec.states_per_stratum)
    return Evaluation(
        settings=_settings(converted, ann, real, spec),
        distribution=None if real is None else _distribution(images, real, spec, track),
        fidelity=measure_fidelity(unet, scheduler, spec.seed, states, track, condition=converted.condition),
        images=image_distance(images[ANN], images[SNN]),
        drawn=images,
    )


def evaluate_to_folder(
    converted: Converted,
    output: Path,
    *,
    spec: EvaluationSpec | None = None,
    real: RealData | None = None,
    plots: Path | None = None,
    process: PartialState | None = None,
    track: Track = silent,
) -> Evaluation | None:
    """`evaluate` a converted model, and write ``evaluation.json`` beside the shards of its images.

    Args:
        output: a folder, which may exist: shards found in it are not drawn again.
        plots: folder for samples.png, error.png and sites.png; None: no plots.

    Raises:
        OutputError: a folder cannot be written, or ``plots`` has somebody else's picture.
        QualityError, SamplingError, FoldedError: see `evaluate`.
    """
    require_ann(converted.unet, "an evaluation")
    for place in (output / "images", plots or output):
        refuse_file(place)
    if plots is not None:
        _refuse_others_picture(plots, output / EVALUATION_FILE)
    spec, process = spec or EvaluationSpec(), process or PartialState()
    with reserved_by_main(output, process):
        found = _evaluated(converted, spec, real, output / "images", process, track)
        return None if found is None else _written(found, converted, output, plots)


def _refuse_others_picture(plots: Path, last: Path) -> None:
    """Check a folder for plots: those that the ``last`` evaluation told of are replaced, and no other picture.

    Raises:
        OutputError: a picture that it did not draw.
    """
    there = [plots / name for name in PLOTS if occupied(plots / name)]
    if not there:
        return
    settings = read_json(last).get("settings") if last.is_file() else None
    if not isinstance(settings, dict) or settings.get("plots") != str(plots.resolve()):
        raise OutputError(f"{there[0]} was not drawn by {last}; choose another folder for `plots`.")


def _written(found: Evaluation, converted: Converted, output: Path, plots: Path | None) -> Evaluation:
    weights = "EMA" if converted.name == BUNDLED else "as published; EMA or not is not recorded"
    origin = {"ann": converted.name, "ann_revision": converted.revision, "ann_weights": weights}
    told = {"provenance": list(converted.provenance), "plots": None if plots is None else str(plots.resolve())}
    found = dataclasses.replace(found, settings=origin | found.settings | told)
    with new_file(output / EVALUATION_FILE) as file:
        file.write_text(json.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    if plots is not None:
        save_plots(plots, found)
    return found


def _drawing(converted: Converted, spec: EvaluationSpec, real: RealData | None, process: PartialState) -> Drawing:
    """The same in all processes, of which only the main one need have ``real``."""
    shares = everywhere(lambda: class_shares(converted.unet, real), process)
    return Drawing(
        spec.count, spec.steps, spec.seed, spec.batch_size, spec.class_labels, converted.decoder, converted.condition,
        () if spec.class_labels else shares,
    )  # fmt: skip


def _draw(
    network: UNet2DModel,
    sampler: Any,
    folder: Path,
    drawing: Drawing,
    process: PartialState,
    announce: Callable[[int], Advance],
) -> Tensor:
    """Images, uint8 [N, C, H, W]; shards that are finished are not drawn again."""
    files = shard_files(folder, network, sampler, drawing)
    passes = drawing.steps * sum(not file.exists() for file in files.values())
    with fused_where_it_pays(network, passes):
        draw_shards(files, network, sampler, drawing, process, announce)
    return read_shards(files)


def _distribution(images: dict[str, Tensor], real: RealData, spec: EvaluationSpec, track: Track) -> Distribution:
    generator = stream("bootstrap", spec.seed)
    features: dict[str, Features] = {}
    for title, drawn_images in images.items():
        advance = track(f"features of the {title}", len(drawn_images))
        features[title] = real.network(FeatureImages(drawn_images), advance=advance)
    pairs = [features[ANN].pooled, features[SNN].pooled]
    drawn = bootstrap_fids(pairs, real.reference, spec.bootstrap, generator, track("bootstrap", spec.bootstrap))
    found = {title: quality(features[title], real.reference, drawn[:, index], spec.seed)
             for index, title in enumerate((ANN, SNN))}  # fmt: skip
    difference = found[SNN].fid - found[ANN].fid
    floor = floor_interval = None
    if real.held_out is not None and len(real.held_out) >= spec.count:
        rows = torch.randperm(len(real.held_out), generator=stream("held-out images", spec.seed))[: spec.count]
        floor = fid(real.held_out[rows], real.reference)
        advance_floor = track("bootstrap, real images", spec.bootstrap)
        resampled = bootstrap_fids([real.held_out[rows]], real.reference, spec.bootstrap, generator, advance_floor)
        floor_interval = interval(floor, resampled[:, 0])
    return Distribution(found, difference, interval(difference, drawn[:, 1] - drawn[:, 0]), floor, floor_interval)


def _settings(converted: Converted, ann: UNet2DModel, real: RealData | None, spec: EvaluationSpec) -> dict[str, Any]:
    unet, reference = converted.unet, None
    drawn = {} if spec.class_labels else {"class_labels_drawn": labels_in_words(unet, real)}
    if converted.condition is not None:
        drawn["condition_digest"] = digest_of(converted.condition)[:16]
    if real is not None:
        reference = {
            "features": real.network.name,
            "features_digest": digest(real.network.network)[:16],
            "reference": real.reference.name,
            "reference_count": real.reference.count,
            "preparation": real.reference.preparation,
        }
    return (
        dataclasses.asdict(spec)
        | {name: words for name, words in drawn.items() if words}
        | {
            "ann_digest": digest(ann)[:16],
            "snn_digest": digest(unet)[:16],
            "spiking": dict(unet.config["spiking"]),
            "real": reference,
            "device": str(unet.device),
            "versions": {
                name: version_of(name) for name in ("torch", "diffusers", "torch-fidelity", "numpy", "scikit-image")
            },
        }
    )
