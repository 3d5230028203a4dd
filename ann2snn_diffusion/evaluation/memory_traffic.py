"""Energy of memory accesses by a stated model: Lemaire et al. 2022 (arXiv 2210.13107), all layers as convolutions.

An ANN's layer reads an input and a weight for each multiply-accumulate, and writes each output (eqs. 3, 6 and 11):

    E_ANN = MACs · (E(inputs) + E(weights)) + outputs · E(outputs)

An SNN's reads each spike, for each accumulate a weight and the membrane that it writes back, each membrane once more to
fire, and writes the spikes (eqs. 5, 7, 13 and 14):

    E_SNN = spikes · 2·E(spikes) + accumulates · (E(weights) + 2·E(membranes)) + 2·charges · E(membranes)

E(x) is the cost of one access of a memory that holds x. A spike takes two bits. Norms, activations and softmax are
taken to work on values that pass by, on both sides.
"""

from __future__ import annotations

from ann2snn_diffusion.evaluation.cost_tables import CostTable
from ann2snn_diffusion.evaluation.synapse_report import SynapseReport

SPIKE_BYTES = 0.25


def ann_traffic(synapse: SynapseReport, costs: CostTable) -> float:
    """pJ of the ANN's layer in one forward pass."""
    return _dense(synapse, synapse.ann_multiply_accumulates, costs) if synapse.ann_multiply_accumulates else 0.0


def snn_traffic(synapse: SynapseReport, costs: CostTable) -> float:
    """pJ of the same layer in the SNN."""
    if synapse.driven_by == "analog":
        return _dense(synapse, synapse.multiply_accumulates, costs)
    weights = costs.access(synapse.weights * costs.word_bytes)
    membranes = costs.access(synapse.outputs * costs.membrane_bytes)
    spikes = costs.access(synapse.membrane_updates * SPIKE_BYTES)
    charged = costs.access(synapse.neurons * costs.membrane_bytes)
    return 2 * synapse.spikes * spikes + synapse.accumulates * (weights + 2 * membranes) + 2 * synapse.charges * charged


def _dense(synapse: SynapseReport, multiply_accumulates: float, costs: CostTable) -> float:
    inputs, weights, outputs = (
        costs.access(size * costs.word_bytes) for size in (synapse.inputs, synapse.weights, synapse.outputs)
    )
    return multiply_accumulates * (inputs + weights) + synapse.outputs * outputs
