"""a2s search-thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ann2snn_diffusion.cli.options import DataRoot, Device, FeaturesName, Force, InceptionWeights, Recipe, Rules, Seed


def search_thresholds(
    folder: Annotated[Path, typer.Argument(help="Folder that a2s convert or a2s finetune wrote.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Result folder.  [default: ./NAME-guided]")
    ] = None,
    recipe: Recipe = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="segment, stage or kind; may be given several times.  [default: one factor for all sites]"),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(help="epsilon: error to the ANN; denoise: DDPM loss, needs --data; fid; kid.  [default: epsilon]"),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="bounded, grid, powell, nelder-mead, cobyqa, differential-evolution or direct.  "
            "[default: bounded for one factor, cobyqa for several]"
        ),
    ] = None,
    bounds: Annotated[
        tuple[float, float] | None, typer.Option(help="Range of every factor, around 1.  [default: 0.9 1.1]")
    ] = None,
    evaluations: Annotated[
        int | None, typer.Option(help="Settings that are tried at most, factor 1 included.  [default: 40]")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="No more are tried after that time.  [default: no limit]")
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-n",
            help="States or images behind a value.  [default: 112 for epsilon, 256 for denoise, 512 for fid, kid]",
        ),
    ] = None,
    held_out: Annotated[
        int | None,
        typer.Option(help="Others that the winner is judged on.  [default: 4 times --count; as many for fid and kid]"),
    ] = None,
    energy: Annotated[
        float | None, typer.Option(help="Weight of relative spikes beside the relative objective.  [default: 0]")
    ] = None,
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
    scheduler: Annotated[str | None, typer.Option(help="Of fid and kid: ddpm, ddim, pndm …  [default: ddim]")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps of fid and kid.  [default: 25]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="States or images at a time.  [default: 64]")] = None,
    bootstrap: Annotated[
        int | None, typer.Option(help="Resamples behind the verdict's interval.  [default: 200]")
    ] = None,
    samples: Annotated[int, typer.Option(min=0, help="Images in each grid; 0: no pictures of samples.")] = 8,
    rules: Rules = None,
    seed: Seed = None,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Search threshold guidance: factors on the firing condition, judged on what the search never saw.

    A guidance that the model has already is set aside.

    Stop it at any time: the same command goes on from its journal. Several processes share the drawing:
    accelerate launch --num_processes 2 -m ann2snn_diffusion.cli search-thresholds …; torchrun --nproc_per_node 2 on
    CPUs
    """
    from ann2snn_diffusion.cli.run import resolve_search, start_process
    from ann2snn_diffusion.common.specs import require

    spec = resolve_search(
        recipe,
        by=by,
        objective=objective,
        optimizer=optimizer,
        bounds=bounds,
        evaluations=evaluations,
        minutes=minutes,
        count=count,
        held_out=held_out,
        energy=energy,
        scheduler=scheduler,
        steps=steps,
        batch_size=batch_size,
        bootstrap=bootstrap,
        seed=seed,
    )

    needs_data = spec.objective != "epsilon"
    require(data is None or needs_data, "data", data, "--objective denoise, fid or kid beside it")
    distance = spec.objective in ("fid", "kid")
    require(features is None or distance, "features", features, "--objective fid or kid beside it")

    from ann2snn_diffusion.common.errors import A2SError
    from ann2snn_diffusion.common.progress import console, figures_bar, progress_bars, silent, tracking
    from ann2snn_diffusion.diffusion.trajectories import sample_size
    from ann2snn_diffusion.evaluation.real_data import reference_data, training_images
    from ann2snn_diffusion.models.loading import load_converted
    from ann2snn_diffusion.reporting.search_table import print_search
    from ann2snn_diffusion.spiking.rules import load_rules
    from ann2snn_diffusion.workflows.search_folder import write_search
    from ann2snn_diffusion.workflows.search_thresholds import search_folder
    from ann2snn_diffusion.workflows.search_thresholds import search_thresholds as search

    process, device = start_process(device)
    result_folder = output or Path(f"{folder.resolve().name}-guided")
    if rules is not None:
        load_rules(rules)
    converted = load_converted(folder, device)
    unet, real, images = converted.unet, None, None
    with progress_bars() as progress:
        track = tracking(progress) if process.is_main_process else silent
        with process.main_process_first():  # which downloads, and keeps features
            if distance:
                real = reference_data(converted, data, data_root, features, inception_weights, spec.searched, track)
            elif data is not None:
                images = training_images(data, data_root, unet.config["in_channels"], sample_size(unet))
        bar = figures_bar(progress, "thresholds", spec.evaluations)
        watch = bar if process.is_main_process else lambda count, best: None
        try:
            found = search(converted, result_folder, spec, process, real, images, force, track, watch)
            if process.is_main_process:
                write_search(converted, found, spec, result_folder, force, samples, track)
        except KeyboardInterrupt:
            raise A2SError("interrupted; the same command goes on from where it was") from None
    if not process.is_main_process:
        return
    print_search(console(), found)
    typer.echo(
        f"{result_folder}: model, threshold_search.json, search.png, trade_off.png"
        f"{', samples.png' if samples else ''}; journal in {search_folder(result_folder)}"
    )
