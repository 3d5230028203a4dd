"""a2s evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ann2snn_diffusion.cli.options import DataRoot, Device, FeaturesName, InceptionWeights, Rules


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder that a2s convert wrote.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for evaluation.json and the images.  [default: ./NAME-evaluation]"),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", "-n", help="Images that each network draws.  [default: 2000; with --data 10000]"),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Real images: a folder, or cifar10, celeba, mnist, fashion-mnist, lsun-bedroom, lsun-church.  "
            "[default: statistics that ship with the bundled model]"
        ),
    ] = None,
    data_root: DataRoot = Path("data"),
    features: FeaturesName = None,
    inception_weights: InceptionWeights = None,
    scheduler: Annotated[str, typer.Option(help="ddpm, ddim, pndm, unipcmultistep …")] = "ddim",
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 25,
    seed: Annotated[int, typer.Option(help="Image i is seeded with seed + i.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Images at a time, and a shard.")] = 64,
    bootstrap: Annotated[int, typer.Option(help="Resamples behind every interval.")] = 100,
    plots: Annotated[Path | None, typer.Option(help="Folder for PNG plots: samples, error over noise, sites.")] = None,
    rules: Rules = None,
    device: Device = "cpu",
) -> None:
    """Measure a converted model beside its ANN: fidelity, FID, KID; the same noise for both.

    An interrupted run continues with the same command. Several processes share the drawing:
    accelerate launch --num_processes 2 -m ann2snn_diffusion.cli evaluate …; torchrun --nproc_per_node 2 on CPUs
    """
    import json

    from ann2snn_diffusion.cli.run import start_process
    from ann2snn_diffusion.common.atomic_output import new_file, refuse_file
    from ann2snn_diffusion.common.progress import console, progress_bars, silent, tracking
    from ann2snn_diffusion.evaluation.image_quality import COMPARABLE_COUNT
    from ann2snn_diffusion.evaluation.real_data import has_bundled_data, reference_data
    from ann2snn_diffusion.models.loading import load_converted
    from ann2snn_diffusion.reporting.evaluation_table import print_evaluation
    from ann2snn_diffusion.spiking.rules import load_rules
    from ann2snn_diffusion.workflows.evaluate import EvaluationSpec, save_plots
    from ann2snn_diffusion.workflows.evaluate import evaluate as measure

    process, device = start_process(device)
    results = output or Path(f"{folder.resolve().name}-evaluation")
    for place in (results / "images", plots or results):
        refuse_file(place)
    if rules is not None:
        load_rules(rules)
    converted = load_converted(folder, device)
    bundled = has_bundled_data(converted.name, data, features)
    if count is None:
        count = 2000 if bundled else 64 if data is None else COMPARABLE_COUNT
    spec = EvaluationSpec(count, scheduler, steps, seed, batch_size, bootstrap)
    with progress_bars() as progress:
        track = tracking(progress) if process.is_main_process else silent
        real = None
        if process.is_main_process:
            real = reference_data(converted, data, data_root, features, inception_weights, count, track)
        measured = measure(converted, results / "images", real, spec, process, track)
    if measured is None:
        return
    evaluation, drawn = measured
    with new_file(results / "evaluation.json") as file:
        file.write_text(json.dumps(evaluation.to_dict(), indent=1, ensure_ascii=False) + "\n")
    if plots is not None:
        save_plots(plots, evaluation, drawn)
    print_evaluation(console(), evaluation)
