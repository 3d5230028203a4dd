"""Cost of a spiking forward pass relative to the ANN's, as it is, fused and compiled, alternating in one run.

python -m benchmarks.forward [--no-compiled]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated

import torch
import typer
from diffusers import UNet2DModel
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ann2snn_diffusion import SpikeSpec, SpikingUNet2DModel, fused, load_source
from ann2snn_diffusion.common.heap import keep_freed


@dataclass(frozen=True)
class Case:
    """A kind of network, and the factor on the firing condition of its last step."""

    spec: SpikeSpec
    last_step: float = 1.0


FRUGAL = SpikeSpec(doubled=("*",), dead_zone=True)
CASES = {"nearest level": Case(SpikeSpec()), "dead zone": Case(FRUGAL), "dead zone, guided": Case(FRUGAL, 1.2)}
"""Without a budget of energy, with one, and guided to fewer spikes."""


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
    compiled: Annotated[bool, typer.Option(help="Also whole networks by torch.compile, which takes minutes.")] = True,
) -> None:
    """Print medians and their ratios."""
    keep_freed()  # as every command does
    ann = load_source().unet
    networks: dict[str, Callable[[Tensor, Tensor], object]] = {"ANN": ann}
    with ExitStack() as stack:
        for title, case in CASES.items():
            networks[title] = network(ann, case)
            networks[f"{title}, fused"] = one = network(ann, case)
            stack.enter_context(fused(one))
            if compiled:
                networks[f"{title}, compiled"] = torch.compile(network(ann, case))
        if compiled:
            networks["ANN, compiled"] = torch.compile(ann)
        medians = [statistics.median(times) for times in alternate(list(networks.values()), batch_size, repeats)]
    table = Table("network", "s", "/ ANN")
    for title, seconds in zip(networks, medians, strict=True):
        table.add_row(title, f"{seconds:.3f}", f"{seconds / medians[0]:.2f}")
    Console(width=120).print(f"batch {batch_size}, {torch.get_num_threads()} threads, torch {torch.__version__}", table)


def network(ann: UNet2DModel, case: Case) -> SpikingUNet2DModel:
    """A spiking network whose neurons fire, without a calibration."""
    spiking = SpikingUNet2DModel.from_unet(ann, case.spec).requires_grad_(False)
    for neuron in spiking.neurons().values():
        neuron.threshold.fill_(4.0)
        neuron.step_guidance = (1.0, case.last_step)
    return spiking


if __name__ == "__main__":
    typer.run(main)
