import itertools

import pytest
import torch
from torch import Tensor

from ann2snn_diffusion.spiking.coding import CODINGS, Coding, level_range, step_weights
from ann2snn_diffusion.spiking.firing import round_to_level
from ann2snn_diffusion.spiking.neuron import (
    ForwardPass,
    SpikingNeuron,
    analog,
    spike_train,
    spike_train_of_increments,
)
from ann2snn_diffusion.spiking.spec import SpikeSpec

CASES = [
    (coding, signed, time_steps)
    for coding, signed, time_steps in itertools.product(CODINGS, (True, False), range(1, 9))
    if signed or coding != "ternary"
]


def neuron(spec: SpikeSpec, signed: bool, ticks: int = 1, dim: int = 1, doubled: bool = False) -> SpikingNeuron:
    generator = torch.Generator().manual_seed(1)
    made = SpikingNeuron(3, signed, spec, ForwardPass(ticks=ticks), dim, doubled)
    made.threshold.data = 0.5 + torch.rand(made.threshold.shape, generator=generator)
    made.offset.data = 0.2 * torch.randn(made.offset.shape, generator=generator)
    return made.requires_grad_(False)


@pytest.mark.parametrize(("coding", "signed", "time_steps"), CASES)
def test_the_closed_form_equals_the_spike_by_spike_loop(
    coding: Coding, signed: bool, time_steps: int, generator: torch.Generator
) -> None:
    weights = step_weights(coding, time_steps)
    lowest, highest = level_range(weights, signed)
    # A quarter off the half-way points, where rounding may go either way; beyond both ends too.
    charge = torch.randint(4 * lowest - 20, 4 * highest + 20, (5000,), generator=generator) / 4 + 0.125
    trains = spike_train(charge, weights, 1.0, signed)
    summed = (trains * torch.tensor(weights)[:, None]).sum(0)
    assert torch.equal(summed, charge.round().clamp(lowest, highest))
    assert set(trains.unique().tolist()) <= ({-1, 0, 1} if signed else {0, 1})


@pytest.mark.parametrize(("coding", "signed", "time_steps"), CASES)
def test_inference_and_training_give_the_same_values(
    coding: Coding, signed: bool, time_steps: int, generator: torch.Generator
) -> None:
    made = neuron(SpikeSpec(time_steps=time_steps, coding=coding, segments=(0,)), signed)
    value = torch.randn(4, 3, 5, 5, generator=generator)
    torch.testing.assert_close(made(value), made(value.requires_grad_()).detach())


def test_rounding_is_to_the_nearest_level(generator: torch.Generator) -> None:
    value = torch.randn(1000, generator=generator)
    unit, offset = torch.tensor(0.07), torch.tensor(-0.1)
    levels = offset + unit * torch.arange(-15, 16)
    nearest = levels[(value[:, None] - levels).abs().argmin(1)]
    torch.testing.assert_close(round_to_level(value, unit, offset, -15, 15), nearest)


@pytest.mark.parametrize(("coding", "signed", "time_steps"), CASES)
def test_guidance_is_simulated_and_not_the_closed_form(
    coding: Coding, signed: bool, time_steps: int, generator: torch.Generator
) -> None:
    plain = SpikeSpec(time_steps=time_steps, coding=coding, segments=(0,))
    value = torch.randn(4, 3, 9, 9, generator=generator)
    made = neuron(plain, signed)
    made.guidance = (1.6,)
    unit, offset = made.levels(value)
    loop = spike_train((value - offset) / unit, made.weights, 1.6, signed)
    torch.testing.assert_close(made(value), offset + unit * made.weigh(loop).sum(0))
    assert not torch.equal(made(value), neuron(plain, signed)(value))
    emitted, unguided = (made.weigh(train).sum(0).abs().sum() for train in (loop, neuron(plain, signed).spikes(value)))
    assert emitted < unguided  # a higher bar: less comes through, in however many spikes


@pytest.mark.parametrize("doubled", [False, True])
@pytest.mark.parametrize("signed", [True, False])
def test_a_constant_input_gives_a_synchronous_neuron_the_layerwise_value(
    signed: bool, doubled: bool, generator: torch.Generator
) -> None:
    spec = SpikeSpec(coding="rate", schedule="synchronous", segments=(0,))
    synchronous = neuron(spec, signed, ticks=4, doubled=doubled)
    layerwise = neuron(SpikeSpec(coding="rate", segments=(0,)), signed, doubled=doubled)
    value = torch.rand(2, 3, 5, 5, generator=generator)
    means = synchronous(value.repeat(4, 1, 1, 1))
    torch.testing.assert_close(means[-2:], layerwise(value))


@pytest.mark.parametrize("coding", CODINGS)
def test_two_neurons_on_each_membrane_round_as_one_does_in_twice_the_time_steps(
    coding: Coding, generator: torch.Generator
) -> None:
    value = torch.randn(4, 3, 5, 5, generator=generator)
    longer = neuron(SpikeSpec(time_steps=6, coding=coding, segments=(0,)), True)
    doubled = neuron(SpikeSpec(time_steps=3, coding=coding, segments=(0,)), True, doubled=True)
    assert torch.equal(doubled(value), longer(value))
    assert torch.equal(doubled.spikes(value), longer.spikes(value))


@pytest.mark.parametrize("doubled", [False, True])
@pytest.mark.parametrize("signed", [True, False])
def test_what_a_synchronous_neuron_hands_on_are_its_spikes(
    signed: bool, doubled: bool, generator: torch.Generator
) -> None:
    made = neuron(SpikeSpec(coding="rate", schedule="synchronous", segments=(0,)), signed, ticks=4, doubled=doubled)
    value = 2 * torch.randn(8, 3, 5, 5, generator=generator)
    unit, offset = made.levels(value)
    torch.testing.assert_close(made(value)[-2:], offset + unit * made.spikes(value).sum(0))


def test_two_neurons_on_a_membrane_fire_twice_in_a_tick_that_brings_much() -> None:
    increments = torch.tensor([0.0, 2.2, 0.0, 0.0])[:, None]
    assert spike_train_of_increments(increments, 1.0, 1.0, True).flatten().tolist() == [0, 1, 1, 0]
    two = spike_train_of_increments(increments, 1.0, 1.0, True, neurons=2)
    assert two.unflatten(0, (4, 2)).sum(1).flatten().tolist() == [0, 2, 0, 0]


def test_a_leaking_membrane_forgets() -> None:
    increments = torch.tensor([0.45, 0.0, 0.0, 0.3])[:, None]
    assert spike_train_of_increments(increments, 1.0, 1.0, True).sum() == 1
    assert spike_train_of_increments(increments, 0.5, 1.0, True).sum() == 0


def test_a_synchronous_neuron_equals_a_plain_integrate_and_fire_simulation(generator: torch.Generator) -> None:
    increments = torch.rand(6, 50, generator=generator)
    fired = spike_train_of_increments(increments, 0.9, 1.0, False)
    for column in range(50):
        membrane = 0.5
        for tick in range(6):
            membrane = 0.9 * membrane + increments[tick, column].item()
            spike = float(membrane >= 1)
            membrane -= spike
            assert fired[tick, column] == spike


@pytest.mark.parametrize("schedule", ["layerwise", "synchronous"])
def test_gradients_reach_input_threshold_and_offset(schedule: str, generator: torch.Generator) -> None:
    made = neuron(SpikeSpec.from_dict({"coding": "rate", "schedule": schedule, "segments": [0]}), False, 4)
    made.requires_grad_(True)
    value = torch.randn(8, 3, 4, 4, generator=generator).requires_grad_()
    made(value).square().sum().backward()
    for gradient in (value.grad, made.threshold.grad, made.offset.grad):
        assert isinstance(gradient, Tensor)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0


def test_every_row_uses_the_thresholds_of_its_noise_segment(generator: torch.Generator) -> None:
    made = neuron(SpikeSpec(segments=(0, 10, 20)), True)
    value = torch.randn(2, 3, 4, 4, generator=generator)
    made.forward_pass.segment = torch.tensor([2, 0])
    both = made(value)
    for row, segment in ((0, 2), (1, 0)):
        made.forward_pass.segment = torch.tensor([segment])
        assert torch.equal(made(value[row : row + 1]), both[row : row + 1])
    assert not torch.equal(made(value[:1]), both[:1])


def test_channels_may_lie_last(generator: torch.Generator) -> None:
    spec = SpikeSpec(segments=(0,))
    value = torch.randn(2, 3, 5, generator=generator)
    first, last = neuron(spec, True), neuron(spec, True, dim=-1)
    assert torch.equal(first(value).transpose(1, 2), last(value.transpose(1, 2)))


def test_analog_passes_through_and_is_restored_even_after_an_error(generator: torch.Generator) -> None:
    made = neuron(SpikeSpec(segments=(0,)), True)
    value = torch.randn(2, 3, 4, 4, generator=generator)
    with analog(made):
        assert made(value) is value
    with pytest.raises(ZeroDivisionError), analog(made):
        raise ZeroDivisionError
    assert not torch.equal(made(value), value)
