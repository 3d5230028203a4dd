import math
from dataclasses import replace

import pytest

from ann2snn_diffusion.evaluation.cost_tables import CostTable
from ann2snn_diffusion.evaluation.element_wise import work_of
from ann2snn_diffusion.evaluation.energy import Energy, element_wise_energy, synapse_energy
from ann2snn_diffusion.evaluation.synapse_report import SynapseReport

COSTS = CostTable("test", multiply_accumulate=10, accumulate=1, word_bytes=1, membrane_bytes=2, access_8_kib=3,
                  access_32_kib=3, access_1_mib=3)  # fmt: skip
SPIKING = SynapseReport(
    name="conv", driven_by="spikes", operations=1000, ann_multiply_accumulates=1000, ann_effective=700,
    multiply_accumulates=0, accumulates=2000, spikes=40, neurons=20, membrane_updates=80, charges=20,
    offset_multiply_accumulates=0, offset_accumulates=50, inputs=20, weights=500, outputs=50,
)  # fmt: skip
ANALOG = replace(
    SPIKING, driven_by="analog", multiply_accumulates=1000, accumulates=0.0, spikes=0, neurons=0, membrane_updates=0,
    charges=0, offset_accumulates=0,
)  # fmt: skip
BESIDE = replace(ANALOG, ann_multiply_accumulates=0, multiply_accumulates=30)


def test_spikes_cost_accumulates_and_neurons_cost_charges_steps_resets_and_maps() -> None:
    energy = synapse_energy(SPIKING, COSTS)
    assert energy.snn.synapses == 2000
    assert energy.snn.element_wise == 10 * 20 + 80 + 40 + 50
    assert (energy.ann.synapses, energy.ann.element_wise) == (10_000, 0)
    assert energy.share == 0.2
    assert energy.share_all == pytest.approx((2000 + 370) / 10_000)


def test_memory_traffic_follows_its_equations() -> None:
    energy = synapse_energy(SPIKING, COSTS)
    assert energy.ann.memory == 3 * (2 * 1000 + 50)
    assert energy.snn.memory == 3 * (2 * 40 + 3 * 2000 + 2 * 20)
    assert energy.share_memory == pytest.approx((2370 + energy.snn.memory) / (10_000 + energy.ann.memory))
    assert synapse_energy(ANALOG, COSTS).snn.memory == energy.ann.memory


def test_larger_memories_cost_more_to_reach() -> None:
    steep = replace(COSTS, access_1_mib=1000)
    large = replace(SPIKING, weights=2**20)
    assert synapse_energy(large, steep).ann.memory == 1000 * (3 + 1000) + 50 * 3
    assert synapse_energy(large, steep).snn.memory == 2 * 40 * 3 + 2000 * (1000 + 2 * 3) + 2 * 20 * 3


def test_what_stays_analog_costs_what_it_costs_in_the_ann() -> None:
    assert synapse_energy(ANALOG, COSTS).share == synapse_energy(ANALOG, COSTS).share_memory == 1


def test_what_the_ann_has_not_is_added_to_the_snn_alone() -> None:
    assert synapse_energy(BESIDE, COSTS).ann.with_memory == 0
    assert math.isnan(synapse_energy(BESIDE, COSTS).share)
    together = sum((synapse_energy(one, COSTS) for one in (SPIKING, BESIDE)), Energy())
    assert together.share == (2000 + 300) / 10_000


def test_an_snn_does_element_wise_work_at_every_tick() -> None:
    (norms, *_) = work_of({"norms": 5})
    energy = element_wise_energy(norms, 4, COSTS)
    assert energy.ann.element_wise == 5 * (2 * 10 + 1)
    assert energy.share_all == 4
