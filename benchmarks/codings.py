"""Relative ε error and firing rate of the bundled model under every coding, schedule and baseline; no fine-tuning.

python benchmarks/codings.py
Measured on states of the ANN's own sampler from another seed, and on the Fashion-MNIST test split with noise where
Debian's package dataset-fashion-mnist is installed.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ann2snn_diffusion import CalibrationSpec, SpikeSpec, SpikingUNet2DModel, convert, load_source
from ann2snn_diffusion.datasets import read_idx
from ann2snn_diffusion.images import noisy_images
from ann2snn_diffusion.noise_levels import LOW_NOISE
from ann2snn_diffusion.trajectories import record, spread_over_segments

TEST_SPLIT = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
BASELINE = CalibrationSpec(method="percentile", per="tensor", correction=0)
CASES: dict[str, tuple[SpikeSpec, CalibrationSpec]] = {
    "radix": (SpikeSpec(), CalibrationSpec()),
    "radix, no correction": (SpikeSpec(), CalibrationSpec(correction=0)),
    "radix, one noise segment": (SpikeSpec(segments=(0,)), CalibrationSpec()),
    "radix, {0, 1} after activations": (SpikeSpec(signed_activations=False), CalibrationSpec()),
    "radix, 99.9 percentile per tensor": (SpikeSpec(segments=(0,)), BASELINE),
    "ternary": (SpikeSpec(coding="ternary"), CalibrationSpec()),
    "rate": (SpikeSpec(coding="rate"), CalibrationSpec()),
    "rate, synchronous": (SpikeSpec(coding="rate", schedule="synchronous"), CalibrationSpec()),
    "rate, synchronous, T = 16": (SpikeSpec(coding="rate", schedule="synchronous", time_steps=16), CalibrationSpec()),
}


def relative_error(spiking: SpikingUNet2DModel, states: Tensor, diffusion_timesteps: Tensor, target: Tensor) -> float:
    """Σ(ε_SNN − ε_ANN)² / Σε_ANN²."""
    parts = zip(states.split(32), diffusion_timesteps.split(32), strict=True)
    predicted = torch.cat([spiking(state, steps).sample for state, steps in parts])
    return ((predicted - target).square().sum() / target.square().sum()).item()


@torch.no_grad()
def main() -> None:
    """Convert and measure each case."""
    source = load_source()
    generator = torch.Generator().manual_seed(1000)
    trajectories = record(source.unet, source.scheduler, 32, 25, generator)
    sets: dict[str, tuple[Tensor, Tensor]] = {}
    for name, last in (("ε error", 1000), (f"below {LOW_NOISE}", LOW_NOISE)):
        steps = spread_over_segments((0,), last, 256, generator)
        rows = torch.randint(32, (256,), generator=generator)
        sets[name] = trajectories.states(rows, steps)[0], steps
        if TEST_SPLIT.exists():
            images = F.pad(read_idx(TEST_SPLIT)[:256, None], (2, 2, 2, 2)).float() / 127.5 - 1
            sets[f"{name}, test images"] = noisy_images(images, steps, trajectories.alphas_cumprod, generator), steps
    targets = {
        name: torch.cat([source.unet(*part).sample for part in zip(states.split(32), steps.split(32), strict=True)])
        for name, (states, steps) in sets.items()
    }
    table = Table("T = 4 unless said", *sets, "firing rate")
    for name, (spec, calibration) in CASES.items():
        conversion = convert(source.unet, source.scheduler, spec, calibration)
        errors = [relative_error(conversion.unet, *sets[key], targets[key]) for key in sets]
        table.add_row(name, *(f"{error:.4f}" for error in errors), f"{conversion.report.firing_rate:.2f}")
    Console(width=130).print(f"seed 0, torch {torch.__version__}, {torch.get_num_threads()} threads", table)


if __name__ == "__main__":
    main()
