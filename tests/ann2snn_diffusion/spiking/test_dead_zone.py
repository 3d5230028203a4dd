"""A dead zone: spikes that save less error than they cost are not fired."""

import itertools

import pytest
import torch

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.spiking.coding import CODINGS, Coding
from ann2snn_diffusion.spiking.conditions import SPIKE_PRICE
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.spec import SpikeSpec

CASES = [
    (coding, signed, doubled, steps)
    for coding, signed, doubled, steps in itertools.product(CODINGS, (True, False), (True, False), (1, 2, 3, 4))
    if signed or coding != "ternary"
]


def neuron(coding: Coding, signed: bool, doubled: bool, steps: int) -> SpikingNeuron:
    made = SpikingNeuron(1, signed, SpikeSpec(steps, coding, dead_zone=True, segments=(0,)), doubled=doubled)
    made.threshold.data.fill_(sum(made.weights))  # units of 1
    return made.double()


def charges(made: SpikingNeuron, generator: torch.Generator) -> torch.Tensor:
    """Beyond both ends, and not on a boundary."""
    lowest, highest = made.level_range
    quarters = torch.randint(4 * lowest - 40, 4 * highest + 40, (4000,), generator=generator).double() / 4
    return (quarters + 0.02 + 0.21 * torch.rand(4000, generator=generator)).view(-1, 1, 1, 1)


@pytest.mark.parametrize(("coding", "signed", "doubled", "steps"), CASES)
@torch.no_grad()
def test_the_table_equals_the_spike_by_spike_loop(
    coding: Coding, signed: bool, doubled: bool, steps: int, generator: torch.Generator
) -> None:
    made = neuron(coding, signed, doubled, steps)
    value = charges(made, generator)
    assert torch.equal(made(value), made.weighted_sum(made.spikes(value)))


@pytest.mark.parametrize(("coding", "signed", "doubled", "steps"), [case for case in CASES if case[1]])
@torch.no_grad()
def test_signed_trains_have_the_least_error_and_price_of_all_levels(
    coding: Coding, signed: bool, doubled: bool, steps: int, generator: torch.Generator
) -> None:
    made = neuron(coding, signed, doubled, steps)
    value = charges(made, generator)
    lowest, highest = made.level_range
    levels = torch.arange(lowest, highest + 1).double()
    spent = made.spikes_of_levels(levels)
    least = ((value.flatten()[:, None] - levels).square() + SPIKE_PRICE * spent).amin(1)
    trains = made.spikes(value)
    found = (value - made.weighted_sum(trains)).square() + SPIKE_PRICE * trains.abs().sum(0)
    torch.testing.assert_close(found.flatten(), least)


@torch.no_grad()
def test_close_to_a_boundary_the_table_equals_the_loop_in_single_precision_too() -> None:
    made = neuron("radix", True, True, 4).float()
    boundaries = torch.arange(-30, 31).float() / 4
    value = torch.cat([boundaries.nextafter(boundaries + way) for way in (-1, 1)]).view(-1, 1, 1, 1)
    assert torch.equal(made(value), made.weighted_sum(made.spikes(value)))


@torch.no_grad()
def test_no_number_stays_none() -> None:
    value = torch.tensor([0.0, torch.nan, torch.inf, -torch.inf], dtype=torch.float64).view(4, 1, 1, 1)
    output = neuron("radix", True, False, 4)(value).flatten()
    assert output[1].isnan()
    assert output[[0, 2, 3]].tolist() == [0, 15, -15]


def test_a_silent_neuron_learns_too() -> None:
    made = neuron("radix", True, False, 4)
    value = torch.tensor([0.1, 0.6, 3.0, 40.0], dtype=torch.float64).view(4, 1, 1, 1).requires_grad_()
    output = made(value)
    assert output.flatten().tolist() == [0, 0, 3, 15]
    (gradient,) = torch.autograd.grad(output.sum(), value)
    assert gradient.flatten().tolist() == [1, 1, 1, 0]


def test_a_stored_network_does_not_carry_its_table() -> None:
    assert "table" not in neuron("radix", True, True, 4).state_dict()


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("dead_zone", {"schedule": "synchronous", "coding": "rate"}),
        ("dead_zone", {"sparse": False}),
        ("time_steps", {"time_steps": 9, "doubled": ("*",)}),
    ],
)
def test_where_it_has_no_meaning_it_is_refused(field: str, fields: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=f"{field} = "):
        SpikeSpec(dead_zone=True, **fields)  # pyright: ignore[reportArgumentType]
