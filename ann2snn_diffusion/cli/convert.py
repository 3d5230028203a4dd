"""a2s convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ann2snn_diffusion.cli.shared_options import Device, Force, Quiet
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec


def convert(
    source: Annotated[
        str, typer.Argument(help="Hub id, pipeline folder, U-Net folder, or fashion-mnist: the bundled model.")
    ] = "fashion-mnist",
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Result folder.  [default: ./NAME-snn]")] = None,
    spiking: SpikeSpec,
    rules: Annotated[
        Path | None,
        typer.Option(help="Python file that registers rules of your own; it is run, with all that it does."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of calibration images; default: no data needed.")] = None,
    calibration: CalibrationSpec,
    random_init: Annotated[
        bool, typer.Option("--random-init", help="Fresh weights, for a2s finetune --learn all --denoise 1 --data …")
    ] = False,
    samples: Annotated[int, typer.Option(min=0, help="Images drawn by ANN and SNN for samples.png; 0: none.")] = 8,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="All sites, not the five of largest error.")] = False,
    force: Force = False,
) -> None:
    """Convert a pretrained DDPM into a spiking U-Net, without training and without data."""
    from ann2snn_diffusion.cli.device import usable_device
    from ann2snn_diffusion.common.atomic_output import refuse_existing

    folder = output or Path(f"{Path(source).resolve().name}-snn")
    refuse_existing(folder, force)
    device = usable_device(device, quiet)

    from ann2snn_diffusion.common.random_streams import stream
    from ann2snn_diffusion.data.image_files import read_images
    from ann2snn_diffusion.diffusion.conditioning import sample_size
    from ann2snn_diffusion.models.loading import load_source, with_random_weights
    from ann2snn_diffusion.reporting.fidelity_table import print_conversion
    from ann2snn_diffusion.reporting.terminal import console, following, tell
    from ann2snn_diffusion.spiking.rules import load_rules
    from ann2snn_diffusion.workflows.convert import convert_to_folder
    from ann2snn_diffusion.workflows.result_folder import Writing

    if rules is not None:
        load_rules(rules)
    ann = load_source(source, device)
    if random_init:
        ann = with_random_weights(ann, calibration.seed)
    pictures = None
    if images is not None:
        count, generator = calibration.states, stream("calibration images", calibration.seed)
        pictures = read_images(images, count, ann.unet.config["in_channels"], sample_size(ann.unet), generator)
    with following(quiet) as track:
        conversion = convert_to_folder(
            ann, folder, spec=spiking, calibration=calibration, images=pictures,
            writing=Writing(samples, force=force), track=track,
        )  # fmt: skip
    print_conversion(console(quiet), conversion.report, spiking, verbose)
    tell(console(quiet), f"{folder}: model, conversion_report.json" + (", samples.png" if samples else ""))
