import itertools

import pytest
import torch

from ann2snn_diffusion.spiking.coding import CODINGS, Coding, level_range, step_weights
from ann2snn_diffusion.spiking.firing import Firing, fired, fired_at_once, spike_train, spike_train_of_increments
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.surrogate import SURROGATES, Surrogate
from tests.ann2snn_diffusion.spiking.firings import early

CASES = [
    (coding, signed, time_steps)
    for coding, signed, time_steps in itertools.product(CODINGS, (True, False), range(1, 9))
    if signed or coding != "ternary"
]


@pytest.mark.parametrize(("coding", "signed", "time_steps"), CASES)
def test_the_closed_form_equals_the_spike_by_spike_loop(
    coding: Coding, signed: bool, time_steps: int, generator: torch.Generator
) -> None:
    weights = step_weights(coding, time_steps)
    lowest, highest = level_range(weights, signed)
    # A quarter off the half-way points, where rounding may go either way; beyond both ends too.
    charge = torch.randint(4 * lowest - 20, 4 * highest + 20, (5000,), generator=generator) / 4 + 0.125
    trains = spike_train(charge, early(weights, 1.0, signed, "arctan"))
    summed = (trains * torch.tensor(weights)[:, None]).sum(0)
    assert torch.equal(summed, charge.round().clamp(lowest, highest))
    assert set(trains.unique().tolist()) <= ({-1, 0, 1} if signed else {0, 1})


@pytest.mark.parametrize("guidance", [1.0, 0.75, torch.tensor([[0.75], [1.0], [1.5]])], ids=str)
@pytest.mark.parametrize(("coding", "signed", "time_steps"), CASES)
def test_spikes_with_and_without_gradients_are_the_same_and_take_the_same_off_the_membrane(
    coding: Coding, signed: bool, time_steps: int, guidance: float | torch.Tensor, generator: torch.Generator
) -> None:
    weights = step_weights(coding, time_steps)
    charge = 2 * sum(weights) * torch.rand(3, 2000, generator=generator, dtype=torch.float64) - sum(weights)
    firing = early(weights, guidance, signed, "rectangle")
    trains = spike_train(charge, firing)
    assert torch.equal(fired(charge, firing), torch.einsum("t,t...->...", torch.tensor(weights).double(), trains))


@pytest.mark.parametrize("signed", [True, False])
def test_a_membrane_at_its_condition_fires_and_one_below_does_not(signed: bool) -> None:
    firing = early((4, 2), torch.tensor([[0.5], [1.0]]), signed, "rectangle")
    at = torch.tensor([[1.0], [2.0]]) if signed else torch.tensor([[2.0], [4.0]])
    membrane = torch.cat([at, at * (1 - 1e-6), -at, -at * (1 - 1e-6), torch.zeros(2, 1)], dim=1)
    expected = torch.tensor([1.0, 0, -1 if signed else 0, 0, 0]).expand(2, -1)
    assert torch.equal(firing.spikes(membrane, 4), expected)
    assert torch.equal(firing.differentiable_spikes(membrane, 4), expected)


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("signed", [True, False])
def test_the_slope_is_the_gradient_of_the_spikes(signed: bool, surrogate: Surrogate) -> None:
    firing = early((4,), 0.8, signed, surrogate)
    membrane = torch.linspace(-9, 9, 401, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(4 * firing.differentiable_spikes(membrane, 4).sum(), membrane)
    torch.testing.assert_close(firing.slope(membrane.detach(), 4), gradient)


def test_rounding_is_to_the_nearest_level(generator: torch.Generator) -> None:
    value = torch.randn(1000, generator=generator)
    unit, offset = torch.tensor(0.07), torch.tensor(-0.1)
    levels = offset + unit * torch.arange(-15, 16)
    nearest = levels[(value[:, None] - levels).abs().argmin(1)]
    torch.testing.assert_close(fired_at_once(value, unit, offset, early((8, 4, 2, 1), 1.0, True, "rectangle")), nearest)


def rate(time_steps: int, signed: bool = True) -> Firing:
    return early((1,) * time_steps, 1.0, signed, "arctan")


def test_two_neurons_on_a_membrane_fire_twice_in_a_tick_that_brings_much() -> None:
    increments = torch.tensor([0.0, 2.2, 0.0, 0.0])[:, None]
    assert spike_train_of_increments(increments, torch.tensor(1.0), rate(4)).flatten().tolist() == [0, 1, 1, 0]
    two = spike_train_of_increments(increments, torch.tensor(1.0), rate(8))
    assert two.unflatten(0, (4, 2)).sum(1).flatten().tolist() == [0, 2, 0, 0]


def test_a_leaking_membrane_forgets() -> None:
    increments = torch.tensor([0.45, 0.0, 0.0, 0.3])[:, None]
    assert spike_train_of_increments(increments, torch.tensor(1.0), rate(4)).sum() == 1
    assert spike_train_of_increments(increments, torch.tensor(0.5), rate(4)).sum() == 0


def test_a_synchronous_neuron_equals_a_plain_integrate_and_fire_simulation(generator: torch.Generator) -> None:
    increments = torch.rand(6, 50, generator=generator)
    fired = spike_train_of_increments(increments, torch.tensor(0.9), rate(6, signed=False))
    for column in range(50):
        membrane = 0.5
        for tick in range(6):
            membrane = 0.9 * membrane + increments[tick, column].item()
            spike = float(membrane >= 1)
            membrane -= spike
            assert fired[tick, column] == spike


@pytest.mark.parametrize("dead_zone", [False, True])
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_whatever_the_order_in_memory_the_closed_form_gives_the_same(
    order: tuple[int, ...], dead_zone: bool, generator: torch.Generator
) -> None:
    neuron = SpikingNeuron(5, True, SpikeSpec(dead_zone=dead_zone, segments=(0,)))
    value = 2 * torch.randn(3, 5, 4, 6, generator=generator)
    unit, offset = (torch.rand(rows, 5, 1, 1, generator=generator) + 0.1 for rows in (3, 1))
    firing = neuron._firing(1.0)
    permuted = value.permute(order).contiguous().permute([order.index(dim) for dim in range(4)])
    expected = firing.level((value - offset) * unit.reciprocal()) * unit + offset
    assert torch.equal(fired_at_once(permuted, unit, offset, firing), expected)
