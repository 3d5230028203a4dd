"""a2s evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ann2snn_diffusion.cli.shared_options import (
    Condition,
    DataRoot,
    Device,
    FeaturesName,
    InceptionWeights,
    Quiet,
    Rules,
)
from ann2snn_diffusion.evaluation.spec import EvaluationSpec


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder that a2s convert wrote.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for evaluation.json and the images.  [default: ./NAME-evaluation]"),
    ] = None,
    evaluation: EvaluationSpec,
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
    condition: Condition = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for PNG plots: samples, error over noise, sites.")] = None,
    rules: Rules = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Measure a converted model beside its ANN: fidelity, FID, KID; the same noise for both.

    An interrupted run continues with the same command. Several processes share the drawing:
    accelerate launch --num_processes 2 -m ann2snn_diffusion.cli evaluate …; torchrun --nproc_per_node 2 on CPUs
    """
    from dataclasses import replace

    from ann2snn_diffusion.cli.device import start_process
    from ann2snn_diffusion.common.errors import InterruptionError
    from ann2snn_diffusion.common.progress import silent
    from ann2snn_diffusion.evaluation.real_data import has_bundled_data, reference_data
    from ann2snn_diffusion.models.loading import load_with_ann, with_conditions
    from ann2snn_diffusion.reporting.evaluation_table import print_evaluation
    from ann2snn_diffusion.reporting.terminal import console, following
    from ann2snn_diffusion.spiking.rules import load_rules
    from ann2snn_diffusion.workflows.evaluate import evaluate_to_folder

    process, device = start_process(device, quiet)
    results = output or Path(f"{folder.resolve().name}-evaluation")
    if rules is not None:
        load_rules(rules)
    converted = with_conditions(load_with_ann(folder, "an evaluation", device), condition)
    bundled = has_bundled_data(converted.name, data, features)
    spec = replace(evaluation, count=evaluation.drawn(bundled, data is not None))
    with following(quiet) as track:
        track = track if process.is_main_process else silent
        real = None
        if process.is_main_process:
            real = reference_data(converted, data, data_root, features, inception_weights, spec.count, track)
        try:
            found = evaluate_to_folder(
                converted, results, spec=spec, real=real, plots=plots, process=process, track=track
            )
        except KeyboardInterrupt:
            raise InterruptionError(f"interrupted; images are kept in {results}, the same command goes on") from None
    if found is not None:
        print_evaluation(console(quiet), found)
