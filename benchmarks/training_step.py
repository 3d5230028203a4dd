"""Time and memory of a forward pass, and of forward and backward, relative to the ANN's own, alternating in one run.

python benchmarks/training_step.py [--device cuda] [--shape ddpm-cifar10-32]
With `pip install spikingjelly` also of its IF neurons in the same U-Net. On a GPU also as training runs them: recorded
once as a CUDA graph, and replayed.
"""

from __future__ import annotations

import copy
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Annotated

import torch
import typer
from diffusers import UNet2DModel
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ann2snn_diffusion import SpikeSpec, SpikingUNet2DModel, load_source
from ann2snn_diffusion.common.heap import keep_freed
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.training.cuda_graph import Replayed
from ann2snn_diffusion.training.gradients import Differentiated
from ann2snn_diffusion.training.learner import learnable
from benchmarks.spikingjelly_unet import spikingjelly_unet

SPECS = {
    "radix, layerwise": SpikeSpec(),
    "radix, layerwise, with a dead zone": SpikeSpec(doubled=("*",), dead_zone=True),
    "rate, synchronous": SpikeSpec(coding="rate", schedule="synchronous"),
}
PEER = "SpikingJelly's neurons, synchronous"


def main(
    batch_size: int = 64,
    repeats: int = 5,
    device: str = "cpu",
    model: Annotated[str, typer.Option(help="As a2s convert takes it.")] = "fashion-mnist",
) -> None:
    """Print medians and their ratios."""
    keep_freed()  # as every command does
    ann = load_source(model).unet.train()
    networks = networks_of(ann, device)
    shape = (batch_size, ann.config["in_channels"], ann.config["sample_size"], ann.config["sample_size"])
    batch = NoisyStates(torch.randn(shape, device=device), torch.randint(1000, (batch_size,), device=device), None)

    def passes(network: UNet2DModel, batch: NoisyStates) -> Differentiated:
        predicted = network(*batch.arguments()).sample
        loss = predicted.square().mean()
        loss.backward()
        return Differentiated(loss.detach(), {}, predicted.detach(), batch.states)

    def forward(network: UNet2DModel) -> None:
        with torch.no_grad():
            network(*batch.arguments())

    def step(network: UNet2DModel) -> None:
        network.zero_grad()
        passes(network, batch)

    forwards = alternate(
        {title: lambda network=network: forward(network) for title, network in networks.items()}, repeats
    )
    steps: dict[str, Callable[[], object]] = {
        title: lambda network=network: step(network) for title, network in networks.items()
    }
    sizes = {title: activation_bytes(network, batch) for title, network in networks.items()}
    if device != "cpu":
        for title, network in networks.items():
            network = alike(network)  # what ran before keeps nodes of its own stream
            parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
            replayed = Replayed(lambda batch, network=network: passes(network, batch), parameters)
            steps[f"{title}, replayed"] = lambda replayed=replayed: replayed(batch)
    seconds = alternate(steps, repeats)
    table = Table(
        "network", "forward, s", "ratio", "forward and backward, s", "ratio", "kept for backward, MiB", "ratio"
    )
    for title, times in seconds.items():
        cells = (
            [f"{forwards[title]:.3f}", f"{forwards[title] / forwards['ANN']:.2f}"] if title in forwards else ["", ""]
        )
        cells += [f"{times:.3f}", f"{times / seconds['ANN']:.2f}"]
        cells += [f"{sizes[title] / 2**20:.0f}", f"{sizes[title] / sizes['ANN']:.2f}"] if title in sizes else ["", ""]
        table.add_row(title, *cells)
    place = f"{torch.get_num_threads()} threads" if device == "cpu" else torch.cuda.get_device_name()
    Console(width=140).print(f"batch {batch_size}, {place}, torch {torch.__version__}", table)


def networks_of(ann: UNet2DModel, device: str) -> dict[str, UNet2DModel]:
    """The ANN, and spiking networks with its weights, all of whose neurons fire, on their device."""
    networks: dict[str, UNet2DModel] = {"ANN": ann}
    for title, spec in SPECS.items():
        spiking = SpikingUNet2DModel.from_unet(ann, spec)
        for neuron in spiking.neurons().values():
            neuron.threshold.data.fill_(4.0)
        learnable(spiking, "spiking")
        networks[title] = spiking
        networks[f"{title}, fused"] = copy.deepcopy(spiking)
        networks[f"{title}, fused"].mode.fused = True
    if importlib.util.find_spec("spikingjelly"):
        networks[PEER] = peer = spikingjelly_unet(ann)
        learnable(peer, "spiking")
    for network in networks.values():
        torch.nn.Module.to(network, device)
    return networks


def alike(network: UNet2DModel) -> UNet2DModel:
    """A copy that runs in the same way."""
    copied = copy.deepcopy(network)
    if isinstance(network, SpikingUNet2DModel) and isinstance(copied, SpikingUNet2DModel):
        copied.mode.fused = network.mode.fused
    return copied


def activation_bytes(network: UNet2DModel, batch: NoisyStates) -> int:
    """Bytes that a forward pass keeps for its backward pass, parameters apart, each storage counted once."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # an output that keeps itself would never go

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(*batch.arguments()).sample
    del output
    return sum(kept.values())


def alternate(steps: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each step, all in turn, so that a busy machine slows them alike."""
    seconds: dict[str, list[float]] = {title: [] for title in steps}
    for repeat in range(repeats + 1):
        for title, step in steps.items():
            start = time.perf_counter()
            step()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repeat:
                seconds[title].append(time.perf_counter() - start)
    return {title: statistics.median(times) for title, times in seconds.items()}


if __name__ == "__main__":
    typer.run(main)
