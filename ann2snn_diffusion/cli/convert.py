"""a2s convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ann2snn_diffusion.cli.options import Device, Force, Recipe, Seed


def convert(
    source: Annotated[
        str, typer.Argument(help="Hub id, pipeline folder, U-Net folder, or fashion-mnist: the bundled model.")
    ] = "fashion-mnist",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Result folder.  [default: ./NAME-snn]")] = None,
    recipe: Recipe = None,
    time_steps: Annotated[int | None, typer.Option(help="Ticks of the spiking network.  [default: 4]")] = None,
    coding: Annotated[str | None, typer.Option(help="rate, radix or ternary.  [default: radix]")] = None,
    schedule: Annotated[str | None, typer.Option(help="layerwise or synchronous.  [default: layerwise]")] = None,
    signed_activations: Annotated[
        bool | None, typer.Option(help="Spikes of both signs after activations.  [default: signed-activations]")
    ] = None,
    leak: Annotated[
        float | None, typer.Option(help="Membrane factor per tick, synchronous only.  [default: 1]")
    ] = None,
    segments: Annotated[
        str | None, typer.Option(help="First diffusion timestep of each noise segment, as 0,50,300.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="Pattern of module names that stay analog; repeatable.")
    ] = None,
    doubled: Annotated[
        list[str] | None, typer.Option(help="Pattern of module names with two neurons on each membrane; repeatable.")
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="Python file that registers rules of your own.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of calibration images; default: no data needed.")] = None,
    method: Annotated[
        str | None, typer.Option(help="least-squares, max or percentile.  [default: least-squares]")
    ] = None,
    percentile: Annotated[float | None, typer.Option(help="For --method percentile.  [default: 99.9]")] = None,
    per: Annotated[str | None, typer.Option(help="A threshold per channel or per tensor.  [default: channel]")] = None,
    correction: Annotated[
        float | None, typer.Option(help="Ridge strength of the weight correction; 0: none.  [default: 0.001]")
    ] = None,
    states: Annotated[int | None, typer.Option(help="Noisy images to calibrate on; memory grows with them.")] = None,
    random_init: Annotated[
        bool, typer.Option("--random-init", help="Fresh weights, for a2s finetune --learn all --denoise 1 --data …")
    ] = False,
    samples: Annotated[int, typer.Option(min=0, help="Images drawn by ANN and SNN for samples.png; 0: none.")] = 8,
    seed: Seed = None,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Convert a pretrained DDPM into a spiking U-Net, without training and without data."""
    from ann2snn_diffusion.cli.run import parse_segments, resolve, usable_device
    from ann2snn_diffusion.common.atomic_output import refuse_existing

    resolved = resolve(
        recipe,
        run={"seed": seed},
        spiking={
            "time_steps": time_steps,
            "coding": coding,
            "schedule": schedule,
            "signed_activations": signed_activations,
            "leak": leak,
            "segments": parse_segments(segments),
            "keep": keep or None,
            "doubled": doubled or None,
        },
        calibration={
            "method": method,
            "percentile": percentile,
            "per": per,
            "correction": correction,
            "states": states,
        },
    )
    folder = output or Path(f"{Path(source).resolve().name}-snn")
    refuse_existing(folder, force)
    usable_device(device)

    import torch

    from ann2snn_diffusion.common.progress import console, progress_bars, tracking
    from ann2snn_diffusion.data.image_files import read_images
    from ann2snn_diffusion.diffusion.trajectories import sample_size
    from ann2snn_diffusion.evaluation.report import print_report
    from ann2snn_diffusion.models.loading import load_source, with_random_weights
    from ann2snn_diffusion.spiking.rules import load_rules
    from ann2snn_diffusion.workflows.convert import convert_to_folder

    if rules is not None:
        load_rules(rules)
    ann = load_source(source, device)
    if random_init:
        ann = with_random_weights(ann, resolved.seed)
    pictures = None
    if images is not None:
        generator = torch.Generator().manual_seed(resolved.seed)
        count = resolved.calibration.states
        pictures = read_images(images, count, ann.unet.config["in_channels"], sample_size(ann.unet), generator)
    with progress_bars() as progress:
        report = convert_to_folder(
            ann, folder, resolved.spiking, resolved.calibration, resolved.seed, pictures, force, samples,
            track=tracking(progress),
        )  # fmt: skip
    print_report(console(), report, resolved.spiking)
    typer.echo(f"{folder}: model, conversion_report.json" + (", samples.png" if samples else ""))
