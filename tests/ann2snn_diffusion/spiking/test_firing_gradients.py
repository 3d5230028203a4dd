import itertools
from typing import Any

import pytest
import torch

from ann2snn_diffusion.spiking.coding import CODINGS, Coding, level_range, step_weights
from ann2snn_diffusion.spiking.firing import spike_train
from ann2snn_diffusion.spiking.firing_gradients import FireAll
from ann2snn_diffusion.spiking.fusing import compiled, unfused
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.surrogate import SURROGATES, Surrogate, derivative
from tests.ann2snn_diffusion.spiking.firings import early
from tests.ann2snn_diffusion.spiking.gradients import assert_same_gradients, draw, inputs, kept_for_backward

CASES = [
    (coding, signed, time_steps)
    for coding, signed, time_steps in itertools.product(CODINGS, (True, False), (1, 2, 4, 8))
    if signed or coding != "ternary"
]


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("guidance", [1.0, 0.8])
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize(("coding", "signed", "time_steps"), CASES)
def test_charged_once_values_and_gradients_are_those_of_autograd_through_the_loop(
    coding: Coding, signed: bool, time_steps: int, surrogate: Surrogate, guidance: float, learned: bool
) -> None:
    weights = step_weights(coding, time_steps)
    value, unit, offset = inputs()
    amplitudes = (torch.tensor(weights) * (1 + 0.2 * draw(time_steps, seed=6))).requires_grad_()
    used = amplitudes if learned else torch.tensor(weights).double()
    parameters = (value, unit, offset, amplitudes) if learned else (value, unit, offset)
    firing = early(weights, guidance, signed, surrogate)
    ours: Any = FireAll.apply(value, unit, offset, amplitudes if learned else None, firing, unfused)
    trains = spike_train((value - offset) / unit, firing)
    assert_same_gradients(ours, offset + unit * torch.einsum("t,t...->...", used, trains), parameters)


@pytest.mark.parametrize(("coding", "signed", "time_steps"), CASES)
def test_a_row_with_factor_one_beside_guided_ones_is_unguided_to_the_bit(
    coding: Coding, signed: bool, time_steps: int
) -> None:
    weights = step_weights(coding, time_steps)
    midway = torch.arange(-sum(weights) - 1, sum(weights) + 1) + 0.5  # where rounding and the loop may differ
    value = torch.cat([midway, 20 * draw(1000, seed=7).float()]).repeat(2, 1)
    unit, offset = torch.ones(1, 1), torch.zeros(1, 1)
    unguided: Any = FireAll.apply(value, unit, offset, None, early(weights, 1.0, signed, "arctan"), unfused)
    mixed: Any = FireAll.apply(
        value, unit, offset, None, early(weights, torch.tensor([[1.0], [0.8]]), signed, "arctan"), unfused
    )
    assert torch.equal(mixed[0], unguided[0])
    assert not torch.equal(mixed[1], unguided[1])


@pytest.mark.parametrize(("coding", "signed", "time_steps"), CASES)
def test_with_the_rectangle_all_steps_together_are_the_clipped_straight_through_estimator(
    coding: Coding, signed: bool, time_steps: int
) -> None:
    weights = step_weights(coding, time_steps)
    lowest, highest = level_range(weights, signed)
    # Away from the ties, where the spike-by-spike loop and the closed form may round differently.
    charge = (torch.arange(-3 * highest, 3 * highest, dtype=torch.float64) / 2 + 0.13).requires_grad_()
    trains = spike_train(charge, early(weights, 1.0, signed, "rectangle"))
    level = torch.einsum("t,t...->...", torch.tensor(weights).double(), trains)
    (slope,) = torch.autograd.grad(level.sum(), charge)
    assert torch.equal(slope, ((charge > lowest) & (charge < highest)).double())


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_a_single_step_has_the_slope_of_the_smoothed_spike(surrogate: Surrogate) -> None:
    # Finite differences of ∫ surrogate, the smoothed spike, at the one firing condition of a {0, 1} neuron.
    grid = torch.linspace(-40, 40, 800_001, dtype=torch.float64)
    smoothed = torch.cumsum(derivative(grid, surrogate), 0) * (grid[1] - grid[0])
    charge = torch.linspace(-2, 3, 41, dtype=torch.float64) + 0.01
    charge.requires_grad_()
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    output: Any = FireAll.apply(charge, one, zero, None, early((1,), 1.0, False, surrogate), unfused)
    (slope,) = torch.autograd.grad(output.sum(), charge)
    margin = charge.detach() + 0.5 - 1
    step = 1e-3
    ends = [torch.searchsorted(grid, margin + side * step).clamp(max=len(grid) - 1) for side in (1, -1)]
    difference = (smoothed[ends[0]] - smoothed[ends[1]]) / (grid[ends[0]] - grid[ends[1]])
    torch.testing.assert_close(slope, difference, rtol=1e-2, atol=2e-3)


def test_no_membrane_is_kept_for_the_backward_pass() -> None:
    value, unit, offset = inputs()
    kept = kept_for_backward(FireAll, value, unit, offset, None, early((1,) * 4, 1.0, True, "arctan"), unfused)
    assert kept == value.numel() + unit.numel() + offset.numel()


@pytest.mark.usefixtures("compiler")
@pytest.mark.slow
@pytest.mark.parametrize("dead_zone", [False, True])
def test_fused_it_computes_the_same(dead_zone: bool) -> None:
    spec = SpikeSpec(doubled=("*",), dead_zone=dead_zone, segments=(0,))
    firing = SpikingNeuron(3, True, spec, doubled=True)._firing()
    value, unit, offset = (part.float().detach().requires_grad_() for part in inputs())
    ours, reference = (FireAll.apply(8 * value, unit, offset, None, firing, fuse) for fuse in (compiled, unfused))
    assert_same_gradients(ours, reference, (value, unit, offset))
