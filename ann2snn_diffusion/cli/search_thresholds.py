"""a2s search-thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ann2snn_diffusion.cli.shared_options import (
    DataRoot,
    Device,
    FeaturesName,
    Force,
    InceptionWeights,
    Quiet,
    Rules,
    Samples,
)
from ann2snn_diffusion.search.spec import SearchSpec


def search_thresholds(
    folder: Annotated[Path, typer.Argument(help="Folder that a2s convert or a2s finetune wrote.")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Result folder.  [default: ./NAME-guided]")
    ] = None,
    search: SearchSpec,
    data: Annotated[
        str | None,
        typer.Option(
            help="Real images for denoise, fid and kid: a folder, or cifar10, celeba, mnist, fashion-mnist, "
            "lsun-bedroom, lsun-church.  [default: for fid and kid, statistics that ship with the bundled model]"
        ),
    ] = None,
    data_root: DataRoot = Path("data"),
    features: FeaturesName = None,
    inception_weights: InceptionWeights = None,
    samples: Samples = None,
    rules: Rules = None,
    device: Device = "auto",
    quiet: Quiet = False,
    force: Force = False,
) -> None:
    """Search threshold guidance: factors on the firing condition, judged on what the search never saw.

    A guidance that the model has already is set aside.

    Stop it at any time: the same command goes on from its journal. Several processes share the drawing:
    accelerate launch --num_processes 2 -m ann2snn_diffusion.cli search-thresholds …; torchrun --nproc_per_node 2 on
    CPUs
    """
    from ann2snn_diffusion.cli.device import start_process
    from ann2snn_diffusion.common.specs import require

    needs_data = search.objective != "epsilon"
    require(data is None or needs_data, "data", data, "`objective` denoise, fid or kid beside it")
    distance = search.objective in ("fid", "kid")
    require(features is None or distance, "features", features, "`objective` fid or kid beside it")

    from ann2snn_diffusion.common.errors import InterruptionError
    from ann2snn_diffusion.common.progress import silent
    from ann2snn_diffusion.data.datasets import training_images
    from ann2snn_diffusion.diffusion.conditioning import sample_size
    from ann2snn_diffusion.evaluation.real_data import reference_data
    from ann2snn_diffusion.models.loading import load_with_ann
    from ann2snn_diffusion.reporting.search_table import print_search
    from ann2snn_diffusion.reporting.terminal import console, following, tell
    from ann2snn_diffusion.spiking.rules import load_rules
    from ann2snn_diffusion.workflows.result_folder import Writing
    from ann2snn_diffusion.workflows.search_thresholds import search_folder, search_thresholds_to_folder

    process, device = start_process(device, quiet)
    result_folder = output or Path(f"{folder.resolve().name}-guided")
    if rules is not None:
        load_rules(rules)
    converted = load_with_ann(folder, "a search of thresholds", device)
    unet, measured_on = converted.unet, None
    with following(quiet) as track:
        track = track if process.is_main_process else silent
        with process.main_process_first():  # which downloads, and keeps features
            if distance:
                count = search.searched
                measured_on = reference_data(converted, data, data_root, features, inception_weights, count, track)
            elif data is not None:
                measured_on = training_images(data, data_root, unet.config["in_channels"], sample_size(unet))
        try:
            found = search_thresholds_to_folder(
                converted, result_folder, spec=search, data=measured_on, process=process,
                writing=Writing(samples, force=force), track=track,
            )  # fmt: skip
        except KeyboardInterrupt:
            raise InterruptionError(
                f"interrupted; trials are kept in {search_folder(result_folder)}, the same command goes on"
            ) from None
    if not process.is_main_process:
        return
    print_search(console(quiet), found)
    tell(
        console(quiet),
        f"{result_folder}: model, threshold_search.json, search.png, trade_off.png"
        f"{', samples.png' if samples != 0 else ''}; journal in {search_folder(result_folder)}",
    )
