"""Sparse firing: the same levels, with the fewest spikes that any train has."""

from itertools import product

import pytest
import torch

from ann2snn_diffusion.spiking.coding import step_weights
from ann2snn_diffusion.spiking.firing import fired, spike_train
from tests.ann2snn_diffusion.spiking.firings import radix

STEPS = [1, 2, 3, 4, 5, 6, 7, 8, 12, 16]
"""T = 1 … 8, and what doubling makes of the last ones."""


@pytest.mark.parametrize("steps", STEPS)
def test_no_level_differs(steps: int, generator: torch.Generator) -> None:
    highest = 2**steps - 1
    charge = (torch.rand(200_000, generator=generator, dtype=torch.float64) * 2.4 - 1.2) * (highest + 1)
    expected = charge.round().clamp(-highest, highest)
    for sparse in (False, True):
        assert torch.equal(fired(charge.clone(), radix(steps, sparse=sparse)), expected)


@pytest.mark.parametrize("steps", range(1, 9))
def test_no_train_that_stands_for_the_level_has_fewer_spikes(steps: int) -> None:
    weights = step_weights("radix", steps)
    fewest: dict[int, int] = {}
    for digits in product((-1, 0, 1), repeat=steps):
        level = sum(weight * digit for weight, digit in zip(weights, digits, strict=True))
        count = sum(map(abs, digits))
        fewest[level] = min(fewest.get(level, count), count)
    # Not only whole charges: whatever rounds to a level has its train.
    for shift in (-0.49, -0.2, 0.0, 0.2, 0.49):
        charge = torch.tensor([level + shift for level in sorted(fewest)], dtype=torch.float64)
        train = spike_train(charge, radix(steps))
        assert train.abs().sum(0).tolist() == [fewest[level] for level in sorted(fewest)]
        levels = (train * torch.tensor(weights).view(-1, 1)).sum(0)
        assert levels.tolist() == sorted(fewest)


def test_it_saves_spikes_over_firing_early(generator: torch.Generator) -> None:
    charge = (torch.rand(10_000, generator=generator) * 2 - 1) * 255
    early, late = (spike_train(charge, radix(8, sparse=sparse)).abs().sum(0).mean() for sparse in (False, True))
    assert late < 0.8 * early


def test_guidance_multiplies_the_condition() -> None:
    assert [radix(4, guidance=1.2).condition(weight) for weight in (8, 4, 2, 1)] == pytest.approx([6.6, 3.0, 1.8, 0.6])
    assert [radix(4, sparse=False, guidance=1.2).condition(weight) for weight in (8, 4, 2, 1)] == pytest.approx(
        [4.8, 2.4, 1.2, 0.6]
    )
