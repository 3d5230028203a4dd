"""Where an SNN of the bundled model loses quality: FID with the SNN in one range of noise, its ANN in all others, and
how much greyer black becomes.

python -m benchmarks.noise_ranges FOLDER [--ranges 0,120,300,700] [-n 512]
Several processes share the drawing: torchrun --nproc_per_node 2 -m benchmarks.noise_ranges FOLDER.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from accelerate import PartialState
from rich.table import Table
from torch import Tensor

from ann2snn_diffusion import SpikingUNet2DModel, analog
from ann2snn_diffusion.common.progress import Advance, silent
from ann2snn_diffusion.diffusion.conditioning import sample_size
from ann2snn_diffusion.diffusion.sampling import Drawing, choose_scheduler, sample, to_pixels
from ann2snn_diffusion.evaluation.features import FeatureImages
from ann2snn_diffusion.evaluation.image_quality import fid
from ann2snn_diffusion.evaluation.real_data import RealData, bundled_data
from ann2snn_diffusion.models.loading import load_converted
from ann2snn_diffusion.reporting.terminal import console, following
from ann2snn_diffusion.search.objectives import shared
from benchmarks.black_pixels import greyer_black


@dataclass(frozen=True)
class Within:
    """A network that spikes at diffusion timesteps from ``first`` to before ``end``, and is its ANN elsewhere."""

    unet: SpikingUNet2DModel
    first: int
    end: int

    @property
    def config(self) -> Any:
        """Of the network."""
        return self.unet.config

    @property
    def device(self) -> torch.device:
        """Of the network."""
        return self.unet.device

    def __call__(self, state: Tensor, diffusion_timestep: Tensor, label: Tensor | None) -> Any:
        """The network's or its ANN's ε of a state [B, C, H, W]."""
        spiking = self.first <= int(diffusion_timestep) < self.end
        with nullcontext() if spiking else analog(self.unet):
            return self.unet(state, diffusion_timestep, label)


def _drawn(network: Any, scheduler: Any, drawing: Drawing, real: RealData, advance: Advance, rows: slice) -> Tensor:
    """Features and pixels of images, beside each other, [N, …]."""
    images = to_pixels(sample(network, scheduler, drawing.part(rows), advance))
    return torch.cat([real.network(FeatureImages(images)).pooled, images.flatten(1)], 1)


def main(
    folder: Path,
    ranges: Annotated[str, typer.Option(help="Where ranges of diffusion timesteps start.")] = "0,120,300,700",
    count: Annotated[int, typer.Option("--count", "-n", help="Images for each range.")] = 512,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 25,
    seed: int = 0,
    batch_size: int = 64,
) -> None:
    """Print FID for none, which is the ANN's, for every range, and for all of them."""
    process = PartialState(cpu=True)
    converted = load_converted(folder)
    unet = converted.unet.requires_grad_(False)
    real = bundled_data(unet.config["out_channels"], sample_size(unet))
    scheduler = choose_scheduler(converted.scheduler, "ddim")
    last = scheduler.config.num_train_timesteps
    starts = [int(start) for start in ranges.split(",")]
    drawing = Drawing(count, steps, seed, batch_size)
    batches = -(-count // batch_size // process.num_processes)
    table, of_ann = Table("the SNN at", "FID", "black greyer by, of 255"), None
    with following() as track:
        track = track if process.is_main_process else silent
        for first, end in [(0, 0), *zip(starts, [*starts[1:], last], strict=True), (0, last)]:
            title = f"{first} … {end - 1}" if end else "none: the ANN"
            network: Any = Within(unet, first, end)
            advance = track(title, batches * steps)
            draw = partial(_drawn, network, scheduler, drawing, real, advance)
            features, pixels = shared(draw, count, batch_size, process).tensor_split([real.network.width], 1)
            of_ann = pixels if of_ann is None else of_ann
            table.add_row(title, f"{fid(features, real.reference):.2f}", f"{greyer_black(of_ann, pixels):.2f}")
    if process.is_main_process:
        console().print(f"{folder}: {count} images, DDIM, {steps} steps, seed {seed}, torch {torch.__version__}", table)


if __name__ == "__main__":
    typer.run(main)
