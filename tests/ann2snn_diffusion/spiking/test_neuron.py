import itertools

import pytest
import torch
from torch import Tensor

from ann2snn_diffusion.spiking.coding import CODINGS, Coding
from ann2snn_diffusion.spiking.firing import Firing, spike_train
from ann2snn_diffusion.spiking.forward_pass import ForwardPass, running
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.spec import SpikeSpec

CASES = [
    (coding, signed, time_steps)
    for coding, signed, time_steps in itertools.product(CODINGS, (True, False), range(1, 9))
    if signed or coding != "ternary"
]


def neuron(spec: SpikeSpec, signed: bool, dim: int = 1, doubled: bool = False) -> SpikingNeuron:
    generator = torch.Generator().manual_seed(1)
    made = SpikingNeuron(3, signed, spec, dim, doubled)
    made.threshold.data = 0.5 + torch.rand(made.threshold.shape, generator=generator)
    made.offset.data = 0.2 * torch.randn(made.offset.shape, generator=generator)
    return made.requires_grad_(False)


@pytest.mark.parametrize(("coding", "signed", "time_steps"), CASES)
def test_inference_and_training_give_the_same_values(
    coding: Coding, signed: bool, time_steps: int, generator: torch.Generator
) -> None:
    made = neuron(SpikeSpec(time_steps=time_steps, coding=coding, segments=(0,)), signed)
    value = torch.randn(4, 3, 5, 5, generator=generator)
    torch.testing.assert_close(made(value), made(value.requires_grad_()).detach())


@pytest.mark.parametrize(("coding", "signed", "time_steps"), CASES)
def test_guidance_is_simulated_and_not_the_closed_form(
    coding: Coding, signed: bool, time_steps: int, generator: torch.Generator
) -> None:
    plain = SpikeSpec(time_steps=time_steps, coding=coding, segments=(0,))
    value = torch.randn(4, 3, 9, 9, generator=generator)
    made = neuron(plain, signed)
    made.guidance = (1.6,)
    unit, offset = made.levels(value)
    loop = spike_train((value - offset) / unit, Firing(made.weights, 1.6, signed, "arctan", made.conditions))
    torch.testing.assert_close(made(value), offset + unit * made.weighted_sum(loop))
    assert not torch.equal(made(value), neuron(plain, signed)(value))
    emitted, unguided = (made.weighted_sum(train).abs().sum() for train in (loop, neuron(plain, signed).spikes(value)))
    assert emitted < unguided  # a higher bar: less comes through, in however many spikes


@pytest.mark.parametrize("doubled", [False, True])
@pytest.mark.parametrize("signed", [True, False])
def test_a_constant_input_gives_a_synchronous_neuron_the_layerwise_value(
    signed: bool, doubled: bool, generator: torch.Generator
) -> None:
    spec = SpikeSpec(coding="rate", schedule="synchronous", segments=(0,))
    synchronous = neuron(spec, signed, doubled=doubled)
    layerwise = neuron(SpikeSpec(coding="rate", segments=(0,)), signed, doubled=doubled)
    value = torch.rand(2, 3, 5, 5, generator=generator)
    with running(ForwardPass(ticks=4)):
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
    made = neuron(SpikeSpec(coding="rate", schedule="synchronous", segments=(0,)), signed, doubled=doubled)
    value = 2 * torch.randn(8, 3, 5, 5, generator=generator)
    unit, offset = made.levels(value)
    with running(ForwardPass(ticks=4)):
        torch.testing.assert_close(made(value)[-2:], offset + unit * made.spikes(value).sum(0))


@pytest.mark.parametrize("schedule", ["layerwise", "synchronous"])
def test_gradients_reach_input_threshold_and_offset(schedule: str, generator: torch.Generator) -> None:
    made = neuron(SpikeSpec.from_dict({"coding": "rate", "schedule": schedule, "segments": [0]}), False)
    made.requires_grad_(True)
    value = torch.randn(8, 3, 4, 4, generator=generator).requires_grad_()
    with running(ForwardPass(ticks=4 if schedule == "synchronous" else 1)):
        made(value).square().sum().backward()
    for gradient in (value.grad, made.threshold.grad, made.offset.grad):
        assert isinstance(gradient, Tensor)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0


def test_every_row_uses_the_thresholds_of_its_noise_segment(generator: torch.Generator) -> None:
    made = neuron(SpikeSpec(segments=(0, 10, 20)), True)
    value = torch.randn(2, 3, 4, 4, generator=generator)
    with running(ForwardPass(segment=torch.tensor([2, 0]))):
        both = made(value)
    for row, segment in ((0, 2), (1, 0)):
        with running(ForwardPass(segment=torch.tensor([segment]))):
            assert torch.equal(made(value[row : row + 1]), both[row : row + 1])
    with running(ForwardPass(segment=torch.tensor([0]))):
        assert not torch.equal(made(value[:1]), both[:1])


def test_a_row_whose_noise_segment_nobody_names_is_refused() -> None:
    with pytest.raises(RuntimeError, match="names each row's noise segment, of 3, got none"):
        neuron(SpikeSpec(segments=(0, 10, 20)), True)(torch.ones(3, 3, 4, 4))


def test_channels_may_lie_last(generator: torch.Generator) -> None:
    spec = SpikeSpec(segments=(0,))
    value = torch.randn(2, 3, 5, generator=generator)
    first, last = neuron(spec, True), neuron(spec, True, dim=-1)
    assert torch.equal(first(value).transpose(1, 2), last(value.transpose(1, 2)))


def test_in_an_analog_pass_the_value_goes_through(generator: torch.Generator) -> None:
    made = neuron(SpikeSpec(segments=(0,)), True)
    value = torch.randn(2, 3, 4, 4, generator=generator)
    with running(ForwardPass(analog=True)):
        assert made(value) is value
    assert not torch.equal(made(value), value)


@pytest.mark.parametrize("learning", ["threshold", "offset"])
def test_a_parameter_that_learns_alone_has_the_gradient_that_it_has_among_others(
    learning: str, generator: torch.Generator
) -> None:
    value = torch.randn(2, 3, 4, 4, generator=generator)
    alone, among = neuron(SpikeSpec(segments=(0,)), True), neuron(SpikeSpec(segments=(0,)), True)
    alone.get_parameter(learning).requires_grad_()
    among.requires_grad_()
    for made in (alone, among):
        made(value).square().sum().backward()
    gradient = among.get_parameter(learning).grad
    assert gradient is not None
    assert gradient.any()
    assert torch.equal(gradient, alone.get_parameter(learning).grad)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("guidance", [(1.0, 1.0), (0.9, 0.9), (0.9, 1.0)])
@pytest.mark.parametrize("schedule", ["layerwise", "synchronous"])
def test_forward_and_backward_are_traced_in_one_graph(
    schedule: str, guidance: tuple[float, float], learned: bool, generator: torch.Generator
) -> None:
    coding = "radix" if schedule == "layerwise" else "rate"
    fields = {"coding": coding, "schedule": schedule, "segments": [0, 500], "learned_step_weights": learned}
    made = neuron(SpikeSpec.from_dict(fields), True).requires_grad_(True)
    made.guidance = guidance
    ticks = made.spec.time_steps if schedule == "synchronous" else 1
    value = torch.randn(2 * ticks, 3, 4, 4, generator=generator)

    def loss(value: Tensor, segment: Tensor) -> Tensor:
        with running(ForwardPass(segment, ticks)):
            return made(value).square().sum()

    found = []
    for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        made.zero_grad()
        function(value, torch.tensor([0, 1]).repeat(ticks)).backward()
        found.append([parameter.grad for parameter in made.parameters()])
    torch._dynamo.reset()
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager)


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1)])
def test_a_value_is_handed_on_in_its_order_in_memory(
    order: tuple[int, ...], learns: bool, generator: torch.Generator
) -> None:
    made = neuron(SpikeSpec(segments=(0,)), signed=True)
    value = torch.randn(4, 3, 5, 7, generator=generator).requires_grad_(learns)
    ordered = value.permute(order).contiguous().permute([order.index(dim) for dim in range(4)])
    output = made(ordered)
    assert torch.equal(output, made(value))
    assert output.stride() == ordered.stride()
