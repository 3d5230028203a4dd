"""Time and activation memory of a training step relative to the ANN's own forward and backward, alternating in one run.

python benchmarks/training_step.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import typer
from diffusers import UNet2DModel
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ann2snn_diffusion import SpikeSpec, SpikingUNet2DModel, load_source
from ann2snn_diffusion.training.learner import learnable


def activation_bytes(network: UNet2DModel, sample: Tensor, diffusion_timestep: Tensor) -> int:
    """Bytes that a forward pass keeps for its backward pass, parameters apart, each storage counted once."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(sample, diffusion_timestep).sample
    del output
    return sum(kept.values())


def main(batch_size: int = 64, repeats: int = 5) -> None:
    """Print medians and their ratios."""
    ann = load_source().unet.train()
    networks: dict[str, UNet2DModel] = {"ANN": ann}
    for title, spec in {
        "SNN, radix, layerwise": SpikeSpec(),
        "SNN, radix, surrogate arctan": SpikeSpec(surrogate="arctan"),
        "SNN, rate, synchronous": SpikeSpec(coding="rate", schedule="synchronous"),
    }.items():
        spiking = SpikingUNet2DModel.from_unet(ann, spec)
        for neuron in spiking.neurons().values():
            neuron.threshold.data.fill_(4.0)
        learnable(spiking, "spiking")
        networks[title] = spiking
    sample, diffusion_timestep = torch.randn(batch_size, 1, 32, 32), torch.randint(1000, (batch_size,))

    def step(network: UNet2DModel) -> None:
        network(sample, diffusion_timestep).sample.square().mean().backward()

    seconds = alternate({title: lambda network=network: step(network) for title, network in networks.items()}, repeats)
    sizes = {title: activation_bytes(network, sample, diffusion_timestep) for title, network in networks.items()}
    table = Table("network", "forward and backward, s", "ratio", "kept for backward, MiB", "ratio")
    for title in networks:
        times, size = seconds[title], sizes[title]
        table.add_row(
            title, f"{times:.2f}", f"{times / seconds['ANN']:.2f}", f"{size / 2**20:.0f}", f"{size / sizes['ANN']:.2f}"
        )
    Console().print(f"batch {batch_size}, {torch.get_num_threads()} threads, torch {torch.__version__}", table)


def alternate(steps: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Median seconds of each step, all in turn, so that a busy machine slows them alike."""
    seconds: dict[str, list[float]] = {title: [] for title in steps}
    for repeat in range(repeats + 1):
        for title, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat:
                seconds[title].append(time.perf_counter() - start)
    return {title: statistics.median(times) for title, times in seconds.items()}


if __name__ == "__main__":
    typer.run(main)
