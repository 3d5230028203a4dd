"""a2s sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ann2snn_diffusion.cli.shared_options import Condition, Device, ForceFiles, Quiet, Rules

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".pdf")


def sample(
    folder: Annotated[Path, typer.Argument(help="Folder that a2s convert wrote.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Picture: .png, .jpg, .webp or .pdf.  [default: ./NAME-samples.png]"),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=2**31, help="Images to draw.")] = 64,
    scheduler: Annotated[
        str, typer.Option(help="ddpm, ddim, pndm, unipcmultistep …; without a β schedule ddim is the model's own.")
    ] = "ddim",
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=2**31, help="Denoising steps.  [default: 50, or as many as the scheduler has]"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**62, help="Image i is seeded with seed + i.")] = 0,
    batch_size: Annotated[
        int, typer.Option(min=1, max=2**31, help="Images at a time; changes nothing but memory.")
    ] = 64,
    class_labels: Annotated[
        str, typer.Option(help="Of the images, in turn, such as 0,1,2.  [default: drawn uniformly, for every image]")
    ] = "",
    condition: Condition = None,
    rules: Rules = None,
    device: Device = "auto",
    quiet: Quiet = False,
    force: ForceFiles = False,
) -> None:
    """Draw a grid of images with a converted model, and, unless it is folded, with its ANN from the same noise."""
    from ann2snn_diffusion.cli.converted_model import converted_model
    from ann2snn_diffusion.cli.device import usable_device
    from ann2snn_diffusion.common.atomic_output import new_file, refuse_existing_file
    from ann2snn_diffusion.common.reservation import reserved
    from ann2snn_diffusion.common.specs import require
    from ann2snn_diffusion.diffusion.memory import require_memory
    from ann2snn_diffusion.diffusion.samplers import sampler_name
    from ann2snn_diffusion.diffusion.sampling import Drawing, choose_scheduler
    from ann2snn_diffusion.diffusion.sampling import sample as draw
    from ann2snn_diffusion.evaluation.class_shares import labels_in_words
    from ann2snn_diffusion.reporting.image_grids import save_grids
    from ann2snn_diffusion.reporting.terminal import console, following, tell
    from ann2snn_diffusion.spiking.modes import fused_where_it_pays

    picture = output or Path(f"{folder.resolve().name}-samples.png")
    picture = picture if picture.suffix or not picture.name.strip(".") else picture.with_suffix(".png")
    require(picture.suffix.lower() in SUFFIXES, "output", str(picture), f"a name that ends in {', '.join(SUFFIXES)}")
    refuse_existing_file(picture, force)
    parts = class_labels.split(",") if class_labels else []
    require(all(part.strip().isdecimal() for part in parts), "class_labels", class_labels, "labels such as 0,1,2")
    labels = tuple(int(part) for part in parts)
    device = usable_device(device, quiet)
    converted = converted_model(folder, rules, condition, device)
    require_memory("count", count, converted.unet)
    sampler = choose_scheduler(converted.scheduler, scheduler)
    steps = steps or min(50, sampler.config.num_train_timesteps)
    networks = {} if converted.unet.folded else {"ANN": converted.unet.ann()}
    networks[f"SNN, T = {converted.unet.spec.time_steps}"] = converted.unet
    drawing = Drawing(count, steps, seed, batch_size, labels, converted.decoder, converted.condition)
    passes = steps * len(drawing.batches())
    fusing = fused_where_it_pays(converted.unet, passes)
    with reserved(picture), new_file(picture) as partial, following(quiet) as track, fusing:
        grids = {title: draw(network, sampler, drawing, track(title, passes)) for title, network in networks.items()}
        titled = {f"{title}, {steps} steps": drawn for title, drawn in grids.items()}
        save_grids(partial, titled, columns=8 if count <= 64 else 16)
    settings = f"{sampler_name(type(sampler))}, {steps} steps, seed {seed}"
    if not labels and (drawn := labels_in_words(converted.unet, None)):
        settings += f", class labels drawn {drawn}"
    tell(
        console(quiet),
        f"{picture}: {count} images {'each, ' if len(grids) > 1 else 'of '}{' over '.join(grids)}; {settings}",
    )
