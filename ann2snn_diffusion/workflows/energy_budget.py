"""Conversion at an energy: the network of least error that spends a given share of its ANN's energy.

One backward pass tells what ε feels of each site; the sites' own curves tell what any price of a spike would spend; one
calibration pass at that price makes the network; its spikes are counted on states that it never saw, and where they
miss the budget the price is corrected.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ann2snn_diffusion.common.progress import Track
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.diffusion.noising import image_error_weights
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.cost_tables import CostTable, cost_table
from ann2snn_diffusion.evaluation.network_layout import NetworkLayout, layout_of
from ann2snn_diffusion.evaluation.spike_count import count_spikes
from ann2snn_diffusion.spiking.calibrate import calibrate
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.sensitivity import measure_sensitivity
from ann2snn_diffusion.spiking.spike_prices import Plan, Prices, plan_of
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

TOLERANCE = 0.015
"""Of the energy, beyond which the price of a spike is corrected."""
CORRECTIONS = 2
"""Of the price, at the most."""
CURVE_ROWS = 256
"""Values of each channel and noise segment that a curve is made from."""
MOST_PROBED = 176
"""States of the backward pass."""


def calibrated_to_energy(
    network: SpikingUNet2DModel,
    make: Callable[[], SpikingUNet2DModel],
    scheduler: Any,
    states: NoisyStates,
    held_out: NoisyStates,
    calibration: CalibrationSpec,
    track: Track,
) -> SpikingUNet2DModel:
    """A network, calibrated to spend ``calibration.energy`` of its ANN's energy.

    Args:
        network: not yet calibrated.
        make: makes another like it, wherever a first calibration misses the energy.
        states: that it is calibrated on, equally many of every noise segment.
        held_out: others, likewise, that its spikes are counted on.

    Raises:
        SpecError: the layers that stay analog spend as much; a noise segment without a state.
        CostTableError: see `cost_table`.
    """
    costs = cost_table(calibration.costs)
    layout, last = layout_of(network, states.part(slice(0, 1))), len(scheduler.alphas_cumprod)
    bounds = [start for start in network.spec.segments if start < last] + [last]
    widths = torch.tensor(bounds).diff() / last
    prices = prices_of(layout, network, costs, widths)
    advance = track("sites' sensitivity", len(network.spec.segments))
    generator = stream("sensitivity", calibration.seed)
    probed = states.part(slice(0, min(len(states), MOST_PROBED)))
    sensitivity = measure_sensitivity(network, probed.arguments(), CURVE_ROWS, generator, advance)
    plan = plan_of(network, sensitivity, prices, image_error_weights(scheduler, bounds).to(network.device))
    aim, analog = calibration.energy, prices.analog_share
    network = _calibrated(network, plan, aim, states, calibration, track)
    for _ in range(CORRECTIONS):
        spent = energy_share(network, layout, prices, held_out)
        if abs(spent / calibration.energy - 1) <= TOLERANCE:
            break
        aim = analog + (aim - analog) * (calibration.energy - analog) / max(spent - analog, 1e-9)
        network = _calibrated(make(), plan, aim, states, calibration, track)
    return network


def prices_of(layout: NetworkLayout, unet: SpikingUNet2DModel, costs: CostTable, widths: Tensor) -> Prices:
    """What spikes and the rest cost by a table, as shares of the ANN's multiply-accumulates."""
    ann = costs.multiply_accumulate * sum(one.operations for one in layout.synapses if one.in_ann)
    analog = sum(one.runs * one.operations for one in layout.synapses if not one.fan_out)
    reached = dict.fromkeys(layout.populations, 0.0)
    for synapse in layout.synapses:
        for site, fan_out in synapse.fan_out.items():
            reached[site] += fan_out.mean().item()
    channels = {name: neuron.threshold.shape[1] for name, neuron in unet.neurons().items()}
    of_spike = {
        site: costs.accumulate * reached[site] * population.size / channels[site] / ann
        for site, population in layout.populations.items()
    }
    return Prices(of_spike, costs.accumulate / ann, costs.multiply_accumulate * analog / ann, widths)


def energy_share(unet: SpikingUNet2DModel, layout: NetworkLayout, prices: Prices, states: NoisyStates) -> float:
    """Share of the ANN's energy, counted on states of all noise segments, each diffusion timestep counting the same."""
    counts = count_spikes(unet, layout, states)
    segment = unet.segment_of(states.diffusion_timesteps).cpu()
    weights = (prices.widths / segment.bincount(minlength=len(prices.widths)))[segment].double()
    accumulates = sum((weights @ counted).item() for counted in counts.accumulates.values())
    return prices.analog_share + accumulates * prices.of_accumulate


def _calibrated(
    network: SpikingUNet2DModel, plan: Plan, energy: float, states: NoisyStates, calibration: CalibrationSpec,
    track: Track,
) -> SpikingUNet2DModel:  # fmt: skip
    advance = track("sites calibrated", len(network.neurons()))
    solve = partial(plan.solve, plan.multiplier(energy))
    generator = stream("calibration", calibration.seed, 1)
    calibrate(network, states.arguments(), calibration, generator, solve, advance)
    return network
