"""Cost of a spiking forward pass relative to the ANN's, eager and compiled, alternating in one run.

python benchmarks/forward.py [--no-compiled]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import torch
import typer
from diffusers import UNet2DModel
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ann2snn_diffusion import SpikeSpec, SpikingUNet2DModel, load_source

CASES = {"nearest level": SpikeSpec(), "dead zone": SpikeSpec(doubled=("*",), dead_zone=True)}
"""Without a budget of energy, and with one."""


def alternate(networks: list[Callable[[Tensor, Tensor], object]], batch_size: int, repeats: int) -> list[list[float]]:
    """Seconds of every forward pass, the networks in turn, so that a busy machine slows all of them alike."""
    sample, diffusion_timestep = torch.randn(batch_size, 1, 32, 32), torch.tensor(300)
    seconds: list[list[float]] = [[] for _ in networks]
    with torch.no_grad():
        for repeat in range(repeats + 2):
            for network, times in zip(networks, seconds, strict=True):
                start = time.perf_counter()
                network(sample, diffusion_timestep)
                if repeat >= 2:
                    times.append(time.perf_counter() - start)
    return seconds


def main(
    batch_size: int = 64,
    repeats: int = 15,
    compiled: Annotated[bool, typer.Option(help="Also with torch.compile, which takes minutes.")] = True,
) -> None:
    """Print medians and their ratios."""
    ann = load_source().unet
    spiking = {case: network(ann, spec) for case, spec in CASES.items()}
    columns = [column for case in CASES for column in (f"{case}, s", "/ ANN")]
    table = Table("mode", "ANN, s", *columns)
    for mode in ("eager", "compiled") if compiled else ("eager",):
        networks: list[Any] = [ann, *spiking.values()]
        if mode == "compiled":
            networks = [torch.compile(one) for one in networks]
        baseline, *ours = (statistics.median(times) for times in alternate(networks, batch_size, repeats))
        cells = [cell for seconds in ours for cell in (f"{seconds:.3f}", f"{seconds / baseline:.2f}")]
        table.add_row(mode, f"{baseline:.3f}", *cells)
    Console(width=120).print(f"batch {batch_size}, {torch.get_num_threads()} threads, torch {torch.__version__}", table)


def network(ann: UNet2DModel, spec: SpikeSpec) -> SpikingUNet2DModel:
    """A spiking network whose neurons fire, without a calibration."""
    spiking = SpikingUNet2DModel.from_unet(ann, spec).requires_grad_(False)
    for neuron in spiking.neurons().values():
        neuron.threshold.fill_(4.0)
    return spiking


if __name__ == "__main__":
    typer.run(main)
