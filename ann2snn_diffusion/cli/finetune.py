"""a2s finetune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ann2snn_diffusion.cli.shared_options import DataRoot, Device, Force, Quiet, Rules, Samples
from ann2snn_diffusion.training.spec import TrainingSpec


def finetune(
    folder: Annotated[Path, typer.Argument(help="Folder that a2s convert wrote.")],
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Result folder.  [default: ./NAME-ft]")] = None,
    training: tuple[TrainingSpec, ...],
    teacher: Annotated[
        str | None, typer.Option(help="Another ANN, as a2s convert takes it.  [default: the one converted]")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Learn on noisy images: a folder, or cifar10, celeba, mnist, fashion-mnist, lsun-bedroom, "
            "lsun-church.  [default: no data, the ANN's sampling states]"
        ),
    ] = None,
    data_root: DataRoot = Path("data"),
    resume: Annotated[
        str | None,
        typer.Option("--resume-from-checkpoint", help="latest, or a checkpoint's folder: goes on as if never stopped."),
    ] = None,
    finish: Annotated[
        str | None,
        typer.Option(help="latest, or a checkpoint's folder: its averaged weights are the result, no step is trained."),
    ] = None,
    samples: Samples = None,
    rules: Rules = None,
    device: Device = "auto",
    quiet: Quiet = False,
    force: Force = False,
) -> None:
    """Train a converted model toward its ANN by surrogate-gradient BPTT, without a data set.

    Several processes: accelerate launch --num_processes 8 -m ann2snn_diffusion.cli finetune …; on CPUs
    torchrun --nproc_per_node 2 -m ann2snn_diffusion.cli finetune …
    """
    from ann2snn_diffusion.cli.device import usable_device

    device = usable_device(device, quiet)

    from ann2snn_diffusion.cli.training_verdict import verdict_lines
    from ann2snn_diffusion.common.errors import InterruptionError
    from ann2snn_diffusion.common.progress import silent
    from ann2snn_diffusion.data.datasets import training_images
    from ann2snn_diffusion.diffusion.conditioning import sample_size
    from ann2snn_diffusion.models.loading import load_ann, load_with_ann
    from ann2snn_diffusion.reporting.fidelity_table import print_before_and_after
    from ann2snn_diffusion.reporting.model_card import steps_told
    from ann2snn_diffusion.reporting.terminal import console, following, tell
    from ann2snn_diffusion.spiking.rules import load_rules
    from ann2snn_diffusion.training.loop import Lesson
    from ann2snn_diffusion.training.run import TrainingRun, accelerator_for
    from ann2snn_diffusion.workflows.finetune import finetune_to_folder, training_folder
    from ann2snn_diffusion.workflows.result_folder import Writing
    from ann2snn_diffusion.workflows.training_stages import all_checkpoints

    result_folder = output or Path(f"{folder.resolve().name}-ft")
    if rules is not None:
        load_rules(rules)
    converted = load_with_ann(folder, "fine-tuning")
    ann = converted.unet.ann() if teacher is None else load_ann(teacher)
    images = None
    if data is not None:
        images = training_images(data, data_root, converted.unet.config["in_channels"], sample_size(converted.unet))
    accelerator = accelerator_for(training[0], training_folder(result_folder), device)
    with following(quiet) as track:
        track = track if accelerator.is_main_process else silent
        try:
            result = finetune_to_folder(
                converted, result_folder, spec=training, lesson=Lesson(ann, converted.scheduler, images),
                run=TrainingRun(accelerator, resume=resume, finish=finish),
                writing=Writing(samples, force=force), track=track,
            )  # fmt: skip
        except KeyboardInterrupt:
            kept = all_checkpoints(training_folder(result_folder), training)
            raise InterruptionError(f"interrupted; {_how_to_go_on(kept)}") from None
    if result is None:
        return
    print_before_and_after(console(quiet), result.before, result.after)
    for line in verdict_lines(result.improved, result.report, result.stages[-1].spec):
        tell(console(quiet), line)
    steps, asked = (sum(stage.steps for stage in stages) for stages in (result.stages, training))
    tell(
        console(quiet),
        f"{result_folder}: model, conversion_report.json{', samples.png' if samples != 0 else ''}; "
        f"{steps_told(steps, asked)} in {result.seconds:.0f} s; "
        f"checkpoints, TensorBoard logs and grids in {training_folder(result_folder)}",
    )


def _how_to_go_on(kept: list[Path]) -> str:
    if not kept:
        return "there was no checkpoint yet, the same command starts anew"
    return (
        f"{kept[-1]} is kept, the same command with --resume-from-checkpoint latest goes on, "
        "with --finish latest it hands out what is trained"
    )
