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

from ann2snn_diffusion import CalibrationSpec, SpikeSpec, convert, load_source
from ann2snn_diffusion.data.datasets import read_idx
from ann2snn_diffusion.data.image_files import noisy_images
from ann2snn_diffusion.diffusion.trajectories import record, spread_over_segments
from ann2snn_diffusion.evaluation.noise_levels import LEVEL_STARTS, LOW_NOISE, low_noise, noise_levels, relative_error
from ann2snn_diffusion.evaluation.site_statistics import compare

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


@torch.no_grad()
def main() -> None:
    """Convert and measure each case."""
    source = load_source()
    generator = torch.Generator().manual_seed(1000)
    trajectories = record(source.unet, source.scheduler, 32, 25, generator)
    diffusion_timesteps = spread_over_segments(LEVEL_STARTS, 1000, 16 * len(LEVEL_STARTS), generator)
    rows = torch.randint(32, diffusion_timesteps.shape, generator=generator)
    sets = {"": trajectories.states(rows, diffusion_timesteps)[0]}
    if TEST_SPLIT.exists():
        images = F.pad(read_idx(TEST_SPLIT)[:256, None], (2, 2, 2, 2)).float() / 127.5 - 1
        sets[", test images"] = noisy_images(images, diffusion_timesteps, trajectories.alphas_cumprod, generator)
    table = Table("T = 4 unless said")
    for name in sets:
        table.add_column(f"ε error{name}")
        table.add_column(f"below {LOW_NOISE}{name}")
    table.add_column("firing rate")
    for case, (spec, calibration) in CASES.items():
        conversion = convert(source.unet, source.scheduler, spec, calibration)
        cells = []
        for states in sets.values():
            levels = noise_levels(compare(conversion.unet, states, diffusion_timesteps), diffusion_timesteps, 1000)
            cells += [f"{relative_error(part):.5f}" for part in (levels, low_noise(levels))]
        table.add_row(case, *cells, f"{conversion.report.firing_rate:.2f}")
    Console(width=130).print(f"seed 0, torch {torch.__version__}, {torch.get_num_threads()} threads", table)


if __name__ == "__main__":
    main()
