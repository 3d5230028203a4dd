"""Costs as JSON: totals, and the same by layer; energies in pJ, counts per image and forward pass."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from ann2snn_diffusion.evaluation.cost_tables import INT8, CostTable
from ann2snn_diffusion.evaluation.costs import Costs
from ann2snn_diffusion.evaluation.energy import Energy


def costs_to_dict(costs: Costs, table: CostTable) -> dict[str, Any]:
    """JSON-ready; null where the ANN spends nothing on a layer that the SNN has, or was not there to be counted.

    ``neurobench`` holds what NeuroBench (arXiv 2304.04640) counts, under its names.
    """
    energies = costs.layers(table)
    energy = costs.energy(table)
    layers = {
        synapse.name: {
            "driven_by": synapse.driven_by,
            "accumulates": synapse.accumulates,
            "multiply_accumulates": synapse.multiply_accumulates,
            "ann_multiply_accumulates": synapse.ann_multiply_accumulates,
            **_energies(energies[synapse.name]),
            "spikes_per_neuron": synapse.spikes_per_neuron,
        }
        for synapse in costs.synapses
    }
    return {
        "cost_table": asdict(table),
        "totals": {
            "accumulates": costs.accumulates,
            "multiply_accumulates": costs.multiply_accumulates,
            "ann_multiply_accumulates": costs.ann_multiply_accumulates,
            **_energies(energy),
            "spikes": costs.spikes,
            "spikes_per_neuron": costs.spikes_per_neuron,
            "sampler_steps": costs.sampler_steps,
            "energy_pj_per_image": costs.sampler_steps * energy.snn.synapses,
            "ann_energy_pj_per_image": costs.sampler_steps * energy.ann.synapses,
            "ann_int8_multiply_accumulates": costs.ann_effective,
            "ann_int8_energy_pj": None
            if costs.ann_effective is None
            else INT8.multiply_accumulate * costs.ann_effective,
            "neurobench": {
                "Dense": costs.ann_multiply_accumulates,
                "Effective_MACs": costs.multiply_accumulates,
                "Effective_ACs": costs.accumulates,
                "activation_sparsity": costs.activation_sparsity,
                "footprint": costs.footprint,
                "membrane_updates": sum(synapse.membrane_updates for synapse in costs.synapses),
            },
        },
        "layers": layers,
        "element_wise": {"ticks": costs.ticks, "kinds": [asdict(work) for work in costs.element_wise]},
        "strata": list(costs.strata),
        "sites": {site.name: asdict(site) | {"spikes_per_neuron": site.spikes_per_neuron} for site in costs.sites},
    }


def _energies(energy: Energy) -> dict[str, float | None]:
    shares = {
        "energy_share": energy.share,
        "energy_share_all": energy.share_all,
        "energy_share_memory": energy.share_memory,
    }
    return {
        "energy_pj": energy.snn.synapses,
        "ann_energy_pj": energy.ann.synapses,
        "energy_all_pj": energy.snn.all,
        "ann_energy_all_pj": energy.ann.all,
        "energy_memory_pj": energy.snn.with_memory,
        "ann_energy_memory_pj": energy.ann.with_memory,
        **{name: None if math.isnan(share) else share for name, share in shares.items()},
    }
