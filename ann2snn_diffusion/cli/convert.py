"""a2s convert."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ann2snn_diffusion.cli.shared_options import Condition, Device, Force, Quiet, Samples
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from ann2snn_diffusion.models.loading import Source
    from ann2snn_diffusion.workflows.conversion_settings import Settings
    from ann2snn_diffusion.workflows.result_folder import Writing


def convert(
    source: Annotated[
        str, typer.Argument(help="Hub id, pipeline folder, U-Net folder, or fashion-mnist: the bundled model.")
    ] = "fashion-mnist",
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Result folder.  [default: ./NAME-snn or ./NAME-front]")
    ] = None,
    front: Annotated[
        str | None, typer.Option(help="Energies, such as 0.15,0.25,0.35: a model at each, a table and a plot.")
    ] = None,
    spiking: SpikeSpec,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="What the ANN was trained with: folder or hub id that has a scheduler, or ddpm for DDPM's defaults.  "
            "[default: the one saved with it, or with the nearest pipeline that it lies in]"
        ),
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="Of the ANN's weights, such as fp16.  [default: the usual, or what lies there]")
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(
            help="Of the weights in the result folder, which are rounded to it: float32, float16 or bfloat16."
        ),
    ] = "float32",
    folded: Annotated[
        bool,
        typer.Option("--folded", help="One weight for each synapse, and no ANN in the result: it can be drawn with."),
    ] = False,
    rules: Annotated[
        Path | None,
        typer.Option(help="Python file that registers rules of your own; it is run, with all that it does."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of calibration images; default: no data needed.")] = None,
    condition: Condition = None,
    calibration: CalibrationSpec,
    random_init: Annotated[
        bool, typer.Option("--random-init", help="Fresh weights, for a2s finetune --learn all --denoise 1 --data …")
    ] = False,
    samples: Samples = None,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="All sites, not the five of largest error.")] = False,
    force: Force = False,
) -> None:
    """Convert a pretrained DDPM into a spiking U-Net, without training and without data.

    Several processes share the calibration:
    accelerate launch --num_processes 2 -m ann2snn_diffusion.cli convert …; torchrun --nproc_per_node 2 on CPUs
    """
    from ann2snn_diffusion.cli.device import start_process
    from ann2snn_diffusion.common.atomic_output import FRONT_FILE, REPORT_FILE, refuse_existing
    from ann2snn_diffusion.common.specs import require

    energies = None if front is None else _energies(front, calibration)
    folder = output or Path(f"{Path(source).resolve().name}-{'front' if energies else 'snn'}")
    refuse_existing(folder, force, marker=FRONT_FILE if energies else REPORT_FILE)
    process, device = start_process(device, quiet)
    alone = process.num_processes == 1
    require(alone or not energies, "front", front, "one process; several share the calibration of one model")
    quiet = quiet or not process.is_main_process

    from ann2snn_diffusion.models.loading import load_source, with_conditions, with_random_weights
    from ann2snn_diffusion.reporting.fidelity_table import print_conversion
    from ann2snn_diffusion.reporting.terminal import console, following, tell
    from ann2snn_diffusion.spiking.rules import load_rules
    from ann2snn_diffusion.workflows.conversion_settings import Settings
    from ann2snn_diffusion.workflows.convert import convert_together
    from ann2snn_diffusion.workflows.result_folder import Writing

    if rules is not None:
        load_rules(rules)
    ann, out = with_conditions(load_source(source, device, scheduler, variant), condition), console(quiet)
    if ann.scheduler_of:
        tell(out, f"scheduler: {type(ann.scheduler).__name__}, {ann.scheduler_of}")
    if ann.variant and not variant:
        tell(out, f"weights: variant {ann.variant}, for no others lie there")
    if random_init:
        ann = with_random_weights(ann, calibration.seed)
    pictures = None if images is None else _read(images, ann, calibration, out)
    written = ", samples.png" if samples != 0 else ""
    writing = Writing(samples, force=force, dtype=dtype, folded=folded)
    settings = Settings(spiking, calibration)
    if energies:
        _convert_front(ann, folder, energies, settings, pictures, writing, quiet)
        tell(out, f"{folder}: a model for each energy, front.json, front.png{written}")
        return
    with following(quiet) as track:
        conversion = convert_together(
            ann, folder, process, settings=settings, images=pictures, writing=writing, track=track
        )
    if conversion is not None:
        budget = calibration.budget(spiking)
        print_conversion(out, conversion.report, conversion.unet.spec, budget, verbose=verbose)
    tell(out, f"{folder}: model, conversion_report.json{written}")


def _convert_front(
    ann: Source, folder: Path, energies: tuple[float, ...], settings: Settings, images: Tensor | None, writing: Writing,
    quiet: bool,
) -> None:  # fmt: skip
    """Convert at each of the energies, and print what each is worth."""
    from ann2snn_diffusion.common.errors import InterruptionError
    from ann2snn_diffusion.reporting.front_plot import front_table
    from ann2snn_diffusion.reporting.terminal import console, following
    from ann2snn_diffusion.workflows.front import front_to_folder, networks_folder

    try:
        with following(quiet) as track:
            points = front_to_folder(
                ann, folder, energies, settings=settings, images=images, writing=writing, track=track
            )
    except KeyboardInterrupt:
        kept = networks_folder(folder)
        if not kept.exists():
            raise
        raise InterruptionError(
            f"interrupted; networks that were finished are kept in {kept}, the same command goes on"
        ) from None
    console(quiet).print(front_table([point.figures() for point in points]))


def _read(images: Path, ann: Source, calibration: CalibrationSpec, out: Console) -> Tensor:
    """Calibration images as the ANN takes them, [N, C, H, W] in [−1, 1]; what was odd about some is told.

    Raises:
        ImagesError: see `read_images`.
    """
    from ann2snn_diffusion.common.random_streams import stream
    from ann2snn_diffusion.data.image_files import read_images
    from ann2snn_diffusion.diffusion.conditioning import sample_size
    from ann2snn_diffusion.reporting.terminal import tell
    from ann2snn_diffusion.workflows.calibration_states import MOST_STATES

    count, generator = calibration.states or MOST_STATES, stream("calibration images", calibration.seed)
    pictures, odd = read_images(images, count, ann.unet.config["in_channels"], sample_size(ann.unet), generator)
    if odd:
        tell(out, f"{images}: {odd}")
    return pictures


def _energies(front: str, calibration: CalibrationSpec) -> tuple[float, ...]:
    """The energies of --front.

    Raises:
        SpecError: no numbers, or beside --energy or another method.
    """
    from dataclasses import replace

    from ann2snn_diffusion.common.specs import SpecError, require

    require(calibration.energy is None, "front", front, "no `energy` beside it")
    try:
        energies = tuple(float(part) for part in front.split(","))
    except ValueError:
        raise SpecError("front", front, "shares of the ANN's energy, such as 0.15,0.25,0.35") from None
    for energy in energies:
        require(energy > 0, "front", front, "shares above 0")
        replace(calibration, energy=energy)  # refuses what is no share, or has no budget
    return energies
