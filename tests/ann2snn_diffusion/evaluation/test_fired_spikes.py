"""Level by level, a population's spikes are those that the loop fires one by one."""

import itertools

import pytest
import torch

from ann2snn_diffusion.evaluation.fired_spikes import Fired, fired_spikes
from ann2snn_diffusion.spiking.coding import CODINGS, Coding
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.spec import SpikeSpec

CASES = [
    (coding, signed, doubled, dead_zone, learned)
    for coding, signed, doubled, dead_zone, learned in itertools.product(CODINGS, *[(True, False)] * 4)
    if signed or coding != "ternary"
]


def neuron(coding: Coding, signed: bool, doubled: bool, dead_zone: bool, learned: bool = False) -> SpikingNeuron:
    spec = SpikeSpec(coding=coding, dead_zone=dead_zone, learned_step_weights=learned, segments=(0,))
    made = SpikingNeuron(3, signed, spec, doubled=doubled)
    made.threshold.data.uniform_(0.8, 1.2, generator=torch.Generator().manual_seed(1))
    if made.amplitudes is not None:
        made.amplitudes.data += 0.1
    return made.double()  # where no charge lies amid two levels


def one_by_one(made: SpikingNeuron, value: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> Fired:
    with monkeypatch.context() as patch:
        patch.setattr(SpikingNeuron, "levels_with_one_train", lambda *_: None)
        return fired_spikes(made, value, 5)


@pytest.mark.parametrize(("coding", "signed", "doubled", "dead_zone", "learned"), CASES)
def test_levels_tell_of_the_same_spikes_as_the_loop(
    coding: Coding, signed: bool, doubled: bool, dead_zone: bool, learned: bool,
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    made = neuron(coding, signed, doubled, dead_zone, learned)
    value = 0.8 * torch.randn(5, 3, 40, 40, generator=generator, dtype=torch.float64)
    assert made.levels_with_one_train(value) is not None
    fast, slow = fired_spikes(made, value, 5), one_by_one(made, value, monkeypatch)
    for field in ("counts", "by_step", "lengths", "shown"):
        assert torch.equal(getattr(fast, field), getattr(slow, field)), field
    torch.testing.assert_close(fast.sums, slow.sums)
    assert fast.added_anew is None


@pytest.mark.parametrize("doubled", [True, False])
def test_a_level_has_the_train_that_stands_for_it(doubled: bool) -> None:
    made = neuron("radix", False, doubled, True)
    assert made.table is not None
    reached = made.table[:-1].unique()
    assert torch.equal(made.weighted_sum(made.trains_of_levels(reached)), reached)


def test_where_a_level_has_several_trains_the_loop_decides(generator: torch.Generator) -> None:
    early = SpikingNeuron(3, True, SpikeSpec(sparse=False, segments=(0,)))
    guided = neuron("radix", True, False, False)
    guided.guidance = (1.1,)
    ticking = SpikingNeuron(3, True, SpikeSpec(coding="rate", schedule="synchronous", segments=(0,)))
    many = SpikingNeuron(3, True, SpikeSpec(time_steps=16, segments=(0,)), doubled=True)
    value = torch.randn(5, 3, 4, 4, generator=generator, dtype=torch.float64)
    for made in (early, guided, ticking, many):
        assert made.levels_with_one_train(value) is None


def test_what_is_no_number_fires_no_spike() -> None:
    value = torch.full((1, 3, 2, 2), torch.nan, dtype=torch.float64)
    fired = fired_spikes(neuron("radix", True, True, True), value, 2)
    assert fired.counts.sum() == 0
    assert fired.lengths[0, 0] == 12
