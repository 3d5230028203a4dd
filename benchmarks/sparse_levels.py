"""Whether sparse firing changes a level: random charges through the loop of spikes, early and sparse, and rounding.

python benchmarks/sparse_levels.py [-n 1000000000] [--seed 0]
For T = 1 … 8, and for 2·T spikes in T time steps. Charges are of double precision: none lies amid two levels.
"""

from __future__ import annotations

from typing import Annotated

import torch
import typer

from ann2snn_diffusion.spiking.coding import level_range, step_weights
from ann2snn_diffusion.spiking.conditions import conditions
from ann2snn_diffusion.spiking.firing import Firing, fired

AT_A_TIME = 1 << 16
STEPS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)
"""Spikes in a train: T of 1 … 8, and twice as many."""


def firing(steps: int, sparse: bool) -> Firing:
    """A signed radix neuron."""
    weights = step_weights("radix", steps)
    reached = conditions(weights, "radix", signed=True, sparse=sparse, dead_zone=False)
    return Firing(weights, 1.0, True, "rectangle", reached)


@torch.no_grad()
def main(count: Annotated[int, typer.Option("-n", help="Charges in all.")] = 1_000_000_000, seed: int = 0) -> None:
    """Count the levels that differ."""
    generator = torch.Generator().manual_seed(seed)
    for steps in STEPS:
        early, sparse = firing(steps, False), firing(steps, True)
        lowest, highest = level_range(sparse.weights, True)
        tried = differing = 0
        while tried < count / len(STEPS):
            charge = (2.4 * torch.rand(AT_A_TIME, generator=generator, dtype=torch.float64) - 1.2) * highest
            expected = charge.round().clamp(lowest, highest)
            for one in (early, sparse):
                differing += int((fired(charge.clone(), one) != expected).sum())
            tried += AT_A_TIME
        print(f"{steps:2} spikes: {differing} of {tried} levels differ", flush=True)


if __name__ == "__main__":
    typer.run(main)
