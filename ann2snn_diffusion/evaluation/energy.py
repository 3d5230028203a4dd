"""Energy: counted operations times published constants. Nothing here was measured on hardware."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

from ann2snn_diffusion.evaluation.cost_tables import CostTable
from ann2snn_diffusion.evaluation.element_wise import ElementWise
from ann2snn_diffusion.evaluation.memory_traffic import ann_traffic, snn_traffic
from ann2snn_diffusion.evaluation.synapse_report import SynapseReport


@dataclass(frozen=True)
class Spent:
    """pJ per image and forward pass."""

    synapses: float = 0.0
    element_wise: float = 0.0
    memory: float = 0.0

    @property
    def all(self) -> float:
        """Synapses and element-wise work."""
        return self.synapses + self.element_wise

    @property
    def with_memory(self) -> float:
        """And memory traffic."""
        return self.all + self.memory

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.synapses + other.synapses, self.element_wise + other.element_wise, self.memory + other.memory)


@dataclass(frozen=True)
class Energy:
    """What SNN and ANN spend on the same."""

    snn: Spent = Spent()
    ann: Spent = Spent()

    @property
    def share(self) -> float:
        """(AC · accumulates + MAC · what stays analog) / (MAC · the ANN's): synapses alone, as the literature counts.

        NaN where the ANN spends nothing, here as below.
        """
        return _ratio(self.snn.synapses, self.ann.synapses)

    @property
    def share_all(self) -> float:
        """Element-wise work and membranes too, on both sides."""
        return _ratio(self.snn.all, self.ann.all)

    @property
    def share_memory(self) -> float:
        """And memory traffic."""
        return _ratio(self.snn.with_memory, self.ann.with_memory)

    def __add__(self, other: Energy) -> Energy:
        return Energy(self.snn + other.snn, self.ann + other.ann)


def synapse_energy(synapse: SynapseReport, costs: CostTable) -> Energy:
    """Of one synapse, and of the neurons before it."""
    mac, ac = costs.multiply_accumulate, costs.accumulate
    neurons = mac * (synapse.charges + synapse.offset_multiply_accumulates)
    neurons += ac * (synapse.membrane_updates + synapse.spikes + synapse.offset_accumulates)
    snn = Spent(ac * synapse.accumulates + mac * synapse.multiply_accumulates, neurons, snn_traffic(synapse, costs))
    return Energy(snn, Spent(mac * synapse.ann_multiply_accumulates, 0.0, ann_traffic(synapse, costs)))


def element_wise_energy(work: ElementWise, ticks: int, costs: CostTable) -> Energy:
    """Of one kind of work, which the SNN does at every tick."""
    spent = costs.multiply_accumulate * work.multiply_accumulates + costs.accumulate * work.accumulates
    return Energy(Spent(element_wise=ticks * spent), Spent(element_wise=spent))


def _ratio(snn: float, ann: float) -> float:
    return snn / ann if ann else nan
