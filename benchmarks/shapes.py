"""Time and memory, stage by stage, of converting networks of public checkpoints' shapes, with random weights.

python benchmarks/shapes.py [ddpm-cifar10-32] [ddpm-butterflies-128] [ddpm-celebahq-256] [--energy 0.25]
Default settings and pictures, each in a process of its own; memory is what the process holds.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import psutil
import torch
import typer
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from rich.console import Console
from rich.table import Table

from ann2snn_diffusion import CalibrationSpec, convert_to_folder, load_source
from ann2snn_diffusion.common.heap import keep_freed
from ann2snn_diffusion.common.progress import Advance, idle

OLD = {"attention_head_dim": None, "downsample_padding": 0, "norm_eps": 1e-6}
"""Of Google's checkpoints."""
SHAPES: dict[str, dict[str, Any]] = {
    "ddpm-cifar10-32": OLD | {
        "sample_size": 32, "block_out_channels": (128, 256, 256, 256),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    },
    "ddpm-butterflies-128": {
        "sample_size": 128, "block_out_channels": (128, 128, 256, 256, 512, 512),
        "down_block_types": (*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4),
    },
    "ddpm-celebahq-256": OLD | {
        "sample_size": 256, "block_out_channels": (128, 128, 256, 256, 512, 512),
        "down_block_types": (*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4),
    },
}  # fmt: skip
GIB = 2**30


@dataclass
class Stages:
    """A `Track` that keeps what each stage took, and what the process held at the most meanwhile."""

    began: float = field(default_factory=time.perf_counter)
    found: list[list[Any]] = field(default_factory=lambda: [["loading", 0.0, 0.0]])
    """Stage, seconds, GiB."""

    def __call__(self, stage: str, steps: int) -> Advance:
        """Begin a stage."""
        del steps
        self.end()
        print(*self.found[-1], file=sys.stderr, flush=True)
        self.found.append([stage, 0.0, 0.0])
        return idle

    def end(self) -> None:
        """End the stage under way."""
        now = time.perf_counter()
        self.found[-1][1], self.began = now - self.began, now

    @contextmanager
    def watching(self, every: float = 0.02) -> Iterator[None]:
        """Watch the process's memory, inside the ``with`` block."""
        done, process = threading.Event(), psutil.Process()

        def watch() -> None:
            while not done.wait(every):
                self.found[-1][2] = max(self.found[-1][2], process.memory_info().rss / GIB)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def stages_of(shape: str, energy: float | None, folder: str) -> list[list[Any]]:
    """Convert a network of a shape to a folder, as a2s convert does."""
    keep_freed()
    torch.manual_seed(0)
    DDPMPipeline(UNet2DModel(**SHAPES[shape]), DDPMScheduler()).save_pretrained(folder)
    stages = Stages()
    with stages.watching():
        source = load_source(folder)
        convert_to_folder(source, Path(folder) / "snn", calibration=CalibrationSpec(energy=energy), track=stages)
        stages.end()
    return stages.found


def main(
    shapes: Annotated[list[str] | None, typer.Argument(help="Default: all.")] = None,
    energy: Annotated[float | None, typer.Option(help="As of a2s convert.")] = None,
) -> None:
    """Print a table for each shape."""
    keep_freed()  # told to the processes of the shapes, which import torch anew
    for shape in shapes or list(SHAPES):
        with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(1) as pool:
            stages = pool.apply(stages_of, (shape, energy, folder))
            sizes = [
                sum(file.stat().st_size for file in (Path(folder) / unet).iterdir()) for unet in ("unet", "snn/unet")
            ]
        table = Table("stage", "s", "GiB at most", title=f"{shape}, {torch.get_num_threads()} threads")
        for stage, seconds, gib in stages:
            table.add_row(stage, f"{seconds:.0f}", f"{gib:.2f}")
        total, most = sum(seconds for _, seconds, _ in stages), max(gib for _, _, gib in stages)
        table.add_row("all", f"{total:.0f}", f"{most:.2f}")
        Console(width=100).print(table, f"folder: {sizes[1] / sizes[0]:.2f} of its ANN's")


if __name__ == "__main__":
    typer.run(main)
