"""a2s finetune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ann2snn_diffusion.cli.options import DataRoot, Device, Force, Recipe, Rules, Seed


def finetune(
    folder: Annotated[Path, typer.Argument(help="Folder that a2s convert wrote.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Result folder.  [default: ./NAME-ft]")] = None,
    recipe: Recipe = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.  [default: 800]")] = None,
    train_batch_size: Annotated[int | None, typer.Option(help="States per process and pass.  [default: 64]")] = None,
    gradient_accumulation_steps: Annotated[int | None, typer.Option(help="Passes per step.  [default: 1]")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam.  [default: 0.00015]")] = None,
    lr_scheduler: Annotated[
        str | None, typer.Option(help="cosine, linear, constant_with_warmup …  [default: cosine]")
    ] = None,
    lr_warmup_steps: Annotated[int | None, typer.Option(help="[default: 100]")] = None,
    max_grad_norm: Annotated[float | None, typer.Option(help="Gradients are clipped to it.  [default: 1]")] = None,
    use_ema: Annotated[
        bool | None, typer.Option(help="Hand out the moving average of the weights.  [default: use-ema]")
    ] = None,
    ema_max_decay: Annotated[float | None, typer.Option(help="[default: 0.99]")] = None,
    mixed_precision: Annotated[str | None, typer.Option(help="no, fp16 or bf16.  [default: no]")] = None,
    gradient_checkpointing: Annotated[
        bool | None, typer.Option(help="Less memory, one more forward pass.  [default: no-gradient-checkpointing]")
    ] = None,
    distill: Annotated[float | None, typer.Option(help="Weight of the error to the ANN's ε.  [default: 1]")] = None,
    blockwise: Annotated[
        float | None, typer.Option(help="Weight of the error to the ANN's block outputs.  [default: 0]")
    ] = None,
    denoise: Annotated[float | None, typer.Option(help="Weight of the DDPM loss; needs --data.  [default: 0]")] = None,
    firing_rate: Annotated[
        float | None, typer.Option(help="Weight of the firing rate: fewer spikes, less fidelity.  [default: 0]")
    ] = None,
    learned_step_weights: Annotated[
        bool | None,
        typer.Option(help="The amplitude of each time step learns too.  [default: no-learned-step-weights]"),
    ] = None,
    learn: Annotated[
        str | None, typer.Option(help="spiking; or all, the ANN's own parameters too.  [default: spiking]")
    ] = None,
    synchronous: Annotated[
        bool | None,
        typer.Option(
            help="Hand out in the synchronous schedule what is trained layerwise; rate only.  [default: no-synchronous]"
        ),
    ] = None,
    own_share: Annotated[
        float | None, typer.Option(help="Share of states on the SNN's own trajectories.  [default: 0.25]")
    ] = None,
    sampler_steps: Annotated[int | None, typer.Option(help="DDIM steps of a trajectory.  [default: 25]")] = None,
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
    dataloader_num_workers: Annotated[int | None, typer.Option(help="[default: 0]")] = None,
    checkpointing_steps: Annotated[
        int | None, typer.Option(help="Steps between checkpoints in OUTPUT-training.  [default: 250]")
    ] = None,
    checkpoints_total_limit: Annotated[int | None, typer.Option(help="Newest ones kept.  [default: 2]")] = None,
    resume_from_checkpoint: Annotated[
        str | None, typer.Option(help="latest, or a checkpoint's folder: goes on as if never stopped.")
    ] = None,
    save_images_steps: Annotated[
        int | None, typer.Option(help="Steps between grids of samples; 0: none.  [default: 250]")
    ] = None,
    samples: Annotated[int, typer.Option(min=0, help="Images in each grid; 0: no pictures.")] = 8,
    rules: Rules = None,
    seed: Seed = None,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Train a converted model toward its ANN by surrogate-gradient BPTT, without a data set.

    Several processes: accelerate launch --num_processes 8 -m ann2snn_diffusion.cli finetune …; on CPUs
    torchrun --nproc_per_node 2 -m ann2snn_diffusion.cli finetune …
    """
    from ann2snn_diffusion.cli.run import resolve_training, usable_device

    spec = resolve_training(
        recipe,
        steps=steps,
        train_batch_size=train_batch_size,
        gradient_accumulation_steps=gradient_accumulation_steps,
        learning_rate=learning_rate,
        lr_scheduler=lr_scheduler,
        lr_warmup_steps=lr_warmup_steps,
        max_grad_norm=max_grad_norm,
        use_ema=use_ema,
        ema_max_decay=ema_max_decay,
        mixed_precision=mixed_precision,
        gradient_checkpointing=gradient_checkpointing,
        distill=distill,
        blockwise=blockwise,
        denoise=denoise,
        firing_rate=firing_rate,
        learned_step_weights=learned_step_weights,
        learn=learn,
        synchronous=synchronous,
        own_share=own_share,
        sampler_steps=sampler_steps,
        dataloader_num_workers=dataloader_num_workers,
        checkpointing_steps=checkpointing_steps,
        checkpoints_total_limit=checkpoints_total_limit,
        save_images_steps=save_images_steps,
        seed=seed,
    )
    usable_device(device)

    from ann2snn_diffusion.common.errors import A2SError
    from ann2snn_diffusion.common.progress import console, figures_bar, progress_bars, silent, tracking
    from ann2snn_diffusion.diffusion.trajectories import sample_size
    from ann2snn_diffusion.evaluation.real_data import training_images
    from ann2snn_diffusion.evaluation.report import print_before_and_after
    from ann2snn_diffusion.models.loading import load_converted, load_source
    from ann2snn_diffusion.spiking.rules import load_rules
    from ann2snn_diffusion.training.accelerating import accelerator_for
    from ann2snn_diffusion.workflows.finetune import finetune_to_folder, training_folder

    result_folder = output or Path(f"{folder.resolve().name}-ft")
    if rules is not None:
        load_rules(rules)
    converted = load_converted(folder)
    ann = None if teacher is None else load_source(teacher).unet
    images = None
    if data is not None:
        images = training_images(data, data_root, converted.unet.config["in_channels"], sample_size(converted.unet))
    accelerator = accelerator_for(spec, training_folder(result_folder), device)
    with progress_bars() as progress:
        track = tracking(progress) if accelerator.is_main_process else silent
        try:
            result = finetune_to_folder(
                converted, result_folder, spec, accelerator, ann, images, resume_from_checkpoint, force, samples,
                track, figures_bar(progress, "training", spec.steps),
            )  # fmt: skip
        except KeyboardInterrupt:
            raise A2SError("interrupted; the same command with --resume-from-checkpoint latest goes on") from None
    if result is None:
        return
    print_before_and_after(console(), result.before, result.after)
    typer.echo(
        f"{result_folder}: model, conversion_report.json{', samples.png' if samples else ''}; {result.steps} steps in "
        f"{result.seconds:.0f} s; checkpoints, TensorBoard logs and grids in {training_folder(result_folder)}"
    )
