import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from ann2snn_diffusion.spiking.coding import CODINGS, Coding, level_range, step_weights
from ann2snn_diffusion.spiking.firing import spike_train, spike_train_of_increments
from ann2snn_diffusion.spiking.firing_gradients import FireAll, FireTicks
from ann2snn_diffusion.spiking.surrogate import SURROGATES, Surrogate, derivative
from tests.ann2snn_diffusion.spiking.firings import early

CASES = [
    (coding, signed, time_steps)
    for coding, signed, time_steps in itertools.product(CODINGS, (True, False), (1, 2, 4, 8))
    if signed or coding != "ternary"
]


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def inputs(*leading: int) -> tuple[Tensor, Tensor, Tensor]:
    value = 4 * draw(*leading, 6, 3, 5, 5, seed=2)
    unit, offset = 0.2 + draw(6, 3, 1, 1, seed=3).abs(), draw(1, 3, 1, 1, seed=4)
    return value.requires_grad_(), unit.requires_grad_(), offset.requires_grad_()


def assert_same_gradients(ours: Tensor, reference: Tensor, parameters: tuple[Tensor, ...]) -> None:
    torch.testing.assert_close(ours, reference)
    cotangent = draw(*ours.shape, seed=5)
    found = [torch.autograd.grad(output, parameters, cotangent) for output in (ours, reference)]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


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
    ours: Any = FireAll.apply(value, unit, offset, amplitudes if learned else None, firing)
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
    unguided: Any = FireAll.apply(value, unit, offset, None, early(weights, 1.0, signed, "arctan"))
    mixed: Any = FireAll.apply(
        value, unit, offset, None, early(weights, torch.tensor([[1.0], [0.8]]), signed, "arctan")
    )
    assert torch.equal(mixed[0], unguided[0])
    assert not torch.equal(mixed[1], unguided[1])


@pytest.mark.parametrize("neurons", [1, 2])
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize(("leak", "guidance"), [(1.0, 1.0), (0.7, 0.9)])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_charged_tick_by_tick_values_and_gradients_are_those_of_autograd_through_the_loop(
    surrogate: Surrogate, signed: bool, leak: float, guidance: float, learned: bool, neurons: int
) -> None:
    value, unit, offset = inputs(4)
    forgetting = torch.tensor(leak, dtype=torch.float64, requires_grad=True)
    amplitudes = (1 + 0.2 * draw(4 * neurons, seed=6)).requires_grad_()
    firing = early((1,) * 4 * neurons, guidance, signed, surrogate)
    ours: Any = FireTicks.apply(value, unit, offset, forgetting, amplitudes if learned else None, firing)
    spikes = spike_train_of_increments((value - offset) / unit / 4, forgetting, firing)
    amplified = (spikes * amplitudes.view(-1, 1, 1, 1, 1) if learned else spikes).unflatten(0, (4, neurons)).sum(1)
    parameters = (value, unit, offset, forgetting, *([amplitudes] if learned else []))
    assert_same_gradients(ours, offset + 4 * unit * amplified, parameters)


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
    output: Any = FireAll.apply(charge, one, zero, None, early((1,), 1.0, False, surrogate))
    (slope,) = torch.autograd.grad(output.sum(), charge)
    margin = charge.detach() + 0.5 - 1
    step = 1e-3
    ends = [torch.searchsorted(grid, margin + side * step).clamp(max=len(grid) - 1) for side in (1, -1)]
    difference = (smoothed[ends[0]] - smoothed[ends[1]]) / (grid[ends[0]] - grid[ends[1]])
    torch.testing.assert_close(slope, difference, rtol=1e-2, atol=2e-3)


def test_the_integrate_and_fire_neuron_is_spikingjellys() -> None:
    neurons = pytest.importorskip("spikingjelly.activation_based.neuron", exc_type=ImportError)
    surrogates = pytest.importorskip("spikingjelly.activation_based.surrogate", exc_type=ImportError)
    # Its arctan has the slope 1 / (1 + (πx)²) at α = 2. Our neuron starts half charged: half a unit comes with tick 1.
    theirs = neurons.IFNode(v_threshold=1.0, v_reset=None, surrogate_function=surrogates.ATan(alpha=2.0), step_mode="m")
    currents = draw(4, 50, seed=7).float().requires_grad_()
    start = torch.zeros(4, 1).index_fill(0, torch.tensor(0), 0.5)
    expected = theirs(currents + start)
    one, zero = torch.ones(1), torch.zeros(1)
    ours: Any = FireTicks.apply(4 * currents, one, zero, one, None, early((1,) * 4, 1.0, False, "arctan"))
    torch.testing.assert_close(ours / 4, expected)
    cotangent = draw(4, 50, seed=8).float()
    ours_gradient, expected_gradient = (
        torch.autograd.grad(output, currents, cotangent) for output in (ours / 4, expected)
    )
    torch.testing.assert_close(ours_gradient, expected_gradient)


@pytest.mark.parametrize("function", [FireAll, FireTicks])
def test_no_membrane_is_kept_for_the_backward_pass(function: Any) -> None:
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    value, unit, offset = inputs(4)
    leak = [] if function is FireAll else [torch.ones((), dtype=torch.float64)]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function.apply(value, unit, offset, *leak, None, early((1,) * 4, 1.0, True, "arctan"))
    assert sum(kept) == value.numel() + unit.numel() + offset.numel() + len(leak)
