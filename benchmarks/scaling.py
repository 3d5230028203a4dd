"""What fine-tuning and a FID of 50,000 images cost larger networks on several GPUs: the table of docs/scaling.md.

python -m benchmarks.scaling
Computed, not measured: from the one training that was timed on a GPU, by multiply-accumulates. A larger network keeps a
GPU busier than that small one did, so times are at most these, if processes do not wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DModel
from torch.utils.flop_counter import FlopCounterMode

from ann2snn_diffusion import load_source
from benchmarks.shapes import SHAPES

TRAINED_STATES, TRAINED_SECONDS = 2000 * 64, 282
"""The bundled model on one H200, layerwise, bfloat16: docs/results.md#ticks-more-states."""
PER_TRAINED_STATE = 4
"""Passes that a state costs in training: the ANN's, the SNN's, and twice that for the SNN's gradients."""
PER_DRAWN_STEP = 2
"""Passes that a denoising step of an image costs in an evaluation: the ANN's and the SNN's."""
STEPS, IMAGES, STATES = 25, 50_000, 2000 * 64
GPUS = (1, 8, 64)
NETWORKS: dict[str, dict[str, Any]] = {
    "32², `ddpm-cifar10-32`": SHAPES["ddpm-cifar10-32"],
    "64², blocks of `ddpm-butterflies-128`": SHAPES["ddpm-butterflies-128"] | {"sample_size": 64},
    "256², `ddpm-celebahq-256`": SHAPES["ddpm-celebahq-256"],
}


@dataclass(frozen=True)
class Size:
    """Of a network."""

    parameters: int
    multiply_accumulates: float
    """Of one image and forward pass of the ANN."""


def size_of(config: dict[str, Any]) -> Size:
    """Counted in one forward pass, on tensors that hold nothing."""
    with torch.device("meta"), FlopCounterMode(display=False) as counted, torch.no_grad():
        unet: Any = UNet2DModel.from_config(config)
        side = unet.config["sample_size"]
        unet(torch.empty(1, unet.config["in_channels"], side, side), torch.zeros(1))
    return Size(sum(parameter.numel() for parameter in unet.parameters()), counted.get_total_flops() / 2)


def table() -> str:
    """As Markdown: hours of each network on each number of GPUs."""
    measured = size_of(dict(load_source().unet.config)).multiply_accumulates
    per_second = TRAINED_STATES * PER_TRAINED_STATE * measured / TRAINED_SECONDS
    heads = ["network", "parameters", "multiply-accumulates of a pass"]
    heads += [f"{what}, {gpus} GPU{'s' if gpus > 1 else ''}" for what in ("fine-tune", "FID") for gpus in GPUS]
    rows = [heads, ["---"] * len(heads)]
    for name, config in NETWORKS.items():
        size = size_of(config)
        passes = (STATES * PER_TRAINED_STATE, IMAGES * STEPS * PER_DRAWN_STEP)
        seconds = [count * size.multiply_accumulates / per_second for count in passes]
        row = [name, f"{size.parameters / 1e6:.1f} M", f"{size.multiply_accumulates / 1e9:.1f} · 10⁹"]
        rows.append([*row, *(duration(one / gpus) for one in seconds for gpus in GPUS)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def duration(seconds: float) -> str:
    """In minutes up to two hours, in hours beyond."""
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


if __name__ == "__main__":
    print(table())
