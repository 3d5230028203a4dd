from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.spike_prices import CHEAPEST, Plan, Prices, levels_of
from calibration.rate_distortion import Sample

SEGMENTS, ROWS, CHANNELS = 2, 2000, 3


@pytest.fixture
def plan(generator: torch.Generator) -> Plan:
    """Two sites, of which the second is felt more, and its spikes cost more."""
    neuron = SpikingNeuron(CHANNELS, True, SpikeSpec(segments=(0, 300), dead_zone=True), doubled=True)
    values, judged = {}, {}
    for name in ("first", "second"):
        rows, judged[name] = torch.randn(2, SEGMENTS, ROWS, CHANNELS, generator=generator)
        values[name] = Sample(rows, rows.amin(1), rows.amax(1))
    importance = {"first": torch.ones(SEGMENTS, CHANNELS), "second": torch.full((SEGMENTS, CHANNELS), 10.0)}
    prices = Prices({"first": 0.01, "second": 0.02}, 1e-9, 0.05)
    watched = {name: torch.arange(CHANNELS) for name in values}
    levels = {name: levels_of(neuron) for name in values}
    return Plan(prices, torch.tensor([0.3, 0.7]), importance, values, judged, watched, levels)


def test_the_dearer_a_spike_the_less_is_spent(plan: Plan) -> None:
    spent = [plan.energy_at(10.0**power) for power in range(-9, 5)]
    assert all(later <= earlier + 1e-3 for earlier, later in pairwise(spent))
    assert spent[-1] == pytest.approx(plan.prices.analog_share)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.35, 0.5, 0.8, 0.95])
def test_the_price_found_spends_the_energy(plan: Plan, share: float) -> None:
    least, most = plan.prices.analog_share, plan.most
    energy = least + share * (most - least)
    assert plan.energy_at(plan.multiplier(energy)) == pytest.approx(energy, rel=0.01)


def _channels(sample: Sample, which: list[int]) -> Sample:
    return Sample(sample.rows[..., which], sample.low[:, which], sample.high[:, which])


def test_some_channels_tell_what_all_spend(plan: Plan) -> None:
    values = {name: _channels(sample, [0, 0, 0]) for name, sample in plan.values.items()}
    one = {name: _channels(sample, [0]) for name, sample in plan.values.items()}
    every = replace(plan, values=values, judged={name: sample.rows for name, sample in values.items()})
    some = replace(plan, values=one, judged={name: sample.rows for name, sample in one.items()},
                   watched={name: torch.tensor([1]) for name in one})  # fmt: skip
    assert some.energy_at(1e-3) == pytest.approx(every.energy_at(1e-3))


def test_energy_is_that_of_values_that_nothing_was_fitted_to(plan: Plan) -> None:
    livelier = replace(plan, judged={name: 2 * rows for name, rows in plan.judged.items()})
    assert livelier.energy_at(1e-3) > 1.1 * plan.energy_at(1e-3)
    assert livelier.multiplier(0.2) > plan.multiplier(0.2)


def test_beyond_what_all_digits_spend_spikes_cost_next_to_nothing(plan: Plan) -> None:
    assert plan.multiplier(1.5 * plan.most) == CHEAPEST


def test_a_site_solves_what_the_plan_counts_on(plan: Plan) -> None:
    multiplier = plan.multiplier(0.15)
    values = plan.values["second"]
    parts = [Sample(values.rows[[k]], values.low[[k]], values.high[[k]]) for k in range(SEGMENTS)]
    scale, offset = plan.solve(multiplier, "second", parts)
    assert scale.shape == offset.shape == (SEGMENTS, CHANNELS)
    cheaper, _ = plan.solve(multiplier / 100, "second", parts)
    assert (cheaper < scale).all()


def test_what_stays_analog_is_the_least_energy() -> None:
    prices = Prices({}, 1e-9, 0.05)
    prices.require_reach(0.051)
    with pytest.raises(SpecError, match=r"energy = 0.05: expected more than 0.0500"):
        prices.require_reach(0.05)
