"""Relative ε error and spikes per neuron of the bundled model under every coding, schedule and baseline.

No budget, no fine-tuning.

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
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates, noisy_images
from ann2snn_diffusion.diffusion.trajectories import StatesSpec, sampling_states
from ann2snn_diffusion.evaluation.noise_strata import (
    LOW_NOISE,
    STRATUM_STARTS,
    low_noise,
    noise_strata,
    relative_error,
    strata_bounds,
)
from ann2snn_diffusion.evaluation.site_statistics import compare

TEST_SPLIT = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
BASELINE = CalibrationSpec(method="percentile", per="tensor", correction=0)
CASES: dict[str, tuple[SpikeSpec, CalibrationSpec]] = {
    "radix": (SpikeSpec(), CalibrationSpec(energy=0)),
    "radix, no correction": (SpikeSpec(), CalibrationSpec(energy=0, correction=0)),
    "radix, one noise segment": (SpikeSpec(segments=(0,)), CalibrationSpec(energy=0)),
    "radix, {0, 1} after activations": (SpikeSpec(signed_activations=False), CalibrationSpec(energy=0)),
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
    wanted = StatesSpec(16 * len(STRATUM_STARTS), STRATUM_STARTS, per_trajectory=7)
    states = sampling_states(source.unet, source.scheduler, wanted, generator)
    sets, diffusion_timesteps = {"": states.states}, states.diffusion_timesteps
    if TEST_SPLIT.exists():
        images = F.pad(read_idx(TEST_SPLIT)[:256, None], (2, 2, 2, 2)).float() / 127.5 - 1
        sets[", test images"] = noisy_images(images, diffusion_timesteps, source.scheduler, generator)
    table = Table("T = 4 unless said")
    for name in sets:
        table.add_column(f"ε error{name}")
        table.add_column(f"below {LOW_NOISE}{name}")
    table.add_column("spikes per neuron")
    for case, (spec, calibration) in CASES.items():
        conversion = convert(source.unet, source.scheduler, spec=spec, calibration=calibration)
        cells = []
        for noisy in sets.values():
            found = compare(conversion.unet, source.scheduler, NoisyStates(noisy, diffusion_timesteps, None))
            strata = noise_strata(found, diffusion_timesteps, strata_bounds(source.scheduler))
            cells += [f"{relative_error(part):.5f}" for part in (strata, low_noise(strata, LOW_NOISE))]
        table.add_row(case, *cells, f"{conversion.report.costs.spikes_per_neuron:.2f}")
    Console(width=130).print(f"seed 0, torch {torch.__version__}, {torch.get_num_threads()} threads", table)


if __name__ == "__main__":
    main()
