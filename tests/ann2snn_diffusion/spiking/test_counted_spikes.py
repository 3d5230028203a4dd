from typing import Any

import pytest
import torch
from torch import Tensor

from ann2snn_diffusion.spiking.counted_spikes import CostOfSpikes, cost_of_spikes, spike_table
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.spec import SpikeSpec

FINE = 64
"""Parts of a unit, in each of which a count is constant."""
KINDS: dict[str, tuple[dict[str, Any], bool]] = {
    "dead zone": ({"dead_zone": True}, True),
    "dead zone, one sign": ({"dead_zone": True}, False),
    "nearest level": ({}, True),
    "one sign": ({}, False),
    "fires early": ({"sparse": False}, True),
    "rate": ({"coding": "rate", "dead_zone": True}, True),
    "ternary": ({"coding": "ternary", "time_steps": 3}, True),
}


@pytest.fixture(params=KINDS, name="neuron")
def of_every_kind(request: pytest.FixtureRequest) -> SpikingNeuron:
    settings, signed = KINDS[request.param]
    neuron = SpikingNeuron(3, signed, SpikeSpec(**settings, segments=(0,)), doubled=settings.get("coding") is None)
    neuron.threshold.data, neuron.offset.data = torch.tensor([[20.0, 31.0, 9.0]]), torch.tensor([[0.1, -0.3, 0.7]])
    return neuron.double()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def values(neuron: SpikingNeuron) -> Tensor:
    """Some beyond the last level."""
    unit, offset = neuron.levels(draw(1, 3, 1, 1))
    spread = torch.linspace(0.1, 0.6 * neuron.level_range[1], 5).view(5, 1, 1, 1)
    return (offset + unit * spread * draw(5, 3, 40, 5)).detach()


def smoothed(neuron: SpikingNeuron, charge: Tensor) -> Tensor:
    """∫ N(v + u) du, u from −½ to ½, from what the loop over firing steps fires in every part of a unit."""
    low, high = neuron.level_range[0] - 3, neuron.level_range[1] + 3
    amid = low + (torch.arange(FINE * (high - low), dtype=torch.float64) + 0.5) / FINE
    unit, offset = (part[:, :1] for part in neuron.levels(draw(1, 3, 1, 1)))
    one = SpikingNeuron(1, neuron.signed, neuron.spec, doubled=neuron.doubled).double()
    one.threshold.data, one.offset.data = neuron.threshold.data[:, :1], neuron.offset.data[:, :1]
    fired = one.spikes(offset + unit * amid.view(1, 1, -1, 1)).abs().sum(0).flatten().detach()
    integral = torch.cat([fired.new_zeros(1), fired.cumsum(0) / FINE])

    def up_to(bound: Tensor) -> Tensor:
        place = ((bound - low) * FINE).clamp(0, len(fired) - 1e-9)
        whole = place.long()
        return integral[whole] + (place - whole) * (integral[whole + 1] - integral[whole])

    charge = charge.clamp(low + 1, high - 1)  # beyond the last levels nothing changes
    return up_to(charge + 0.5) - up_to(charge - 0.5)


def test_the_cost_is_that_of_the_spikes_that_the_loop_fires(neuron: SpikingNeuron) -> None:
    value, price = values(neuron), draw(1, 3, 40, 5, seed=1)
    found = cost_of_spikes(neuron, value, price, spike_table(neuron), slice(1, None, 2))
    expected = (neuron.spikes(value[1::2]).abs().sum(0) * price).sum((1, 2, 3))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_its_gradients_are_finite_differences_of_the_smoothed_count(neuron: SpikingNeuron) -> None:
    value, price, table = values(neuron), draw(1, 3, 40, 5, seed=1).abs(), spike_table(neuron)
    unit, offset = (part.detach() for part in neuron.levels(value))
    parts = [part.clone().requires_grad_() for part in (value, unit, offset)]
    cost: Any = CostOfSpikes.apply(*parts, price, table)
    cotangent = draw(len(value), seed=2)
    found = torch.autograd.grad(cost, parts, cotangent)

    def of(value: Tensor, unit: Tensor, offset: Tensor) -> Tensor:
        return smoothed(neuron, (value - offset) / unit) * price * cotangent.view(-1, 1, 1, 1)

    step = 1e-8
    for index, (part, gradient) in enumerate(zip(parts, found, strict=True)):
        moved = [[other.detach() + sign * step * (at == index) for at, other in enumerate(parts)] for sign in (1, -1)]
        difference = (of(*moved[0]) - of(*moved[1])) / (2 * step)
        torch.testing.assert_close(gradient, difference.sum_to_size(part.shape), rtol=1e-3, atol=1e-3)
