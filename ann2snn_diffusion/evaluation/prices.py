"""What one spike of each site costs: an accumulate at every synapse that it reaches, by a table of costs."""

from __future__ import annotations

from torch import Tensor

from ann2snn_diffusion.evaluation.cost_tables import CostTable
from ann2snn_diffusion.evaluation.network_layout import NetworkLayout
from ann2snn_diffusion.spiking.spike_prices import Prices
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel


def prices_of(layout: NetworkLayout, unet: SpikingUNet2DModel, costs: CostTable) -> Prices:
    """What spikes and the rest cost by a table, as shares of the ANN's multiply-accumulates."""
    ann = costs.multiply_accumulate * sum(one.operations for one in layout.synapses if one.in_ann)
    analog = sum(one.runs * one.operations for one in layout.synapses if not one.fan_out)
    reached = {site: count.mean().item() for site, count in accumulates_by_place(layout).items()}
    channels = {name: neuron.threshold.shape[1] for name, neuron in unet.neurons().items()}
    of_spike = {
        site: costs.accumulate * reached.get(site, 0.0) * population.size / channels[site] / ann
        for site, population in layout.populations.items()
    }
    return Prices(of_spike, costs.accumulate / ann, costs.multiply_accumulate * analog / ann)


def accumulates_by_place(layout: NetworkLayout) -> dict[str, Tensor]:
    """By site, synapses that a spike at each place reaches: float64, [1, C, H, W] or [1, …, C], 1 wide where all places
    have the same."""
    reached: dict[str, Tensor] = {}
    for synapse in layout.synapses:
        for site, fan_out in synapse.fan_out.items():
            reached[site] = reached[site] + fan_out if site in reached else fan_out
    return reached
