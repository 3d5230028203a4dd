"""Conversion at an energy: the network of least error that spends a given share of its ANN's energy.

One backward pass tells what ε feels of each site; its values, solved at a price of a spike, tell what that price would
spend; one calibration pass at the price that fits makes the network; its spikes are counted on states that it never
saw, and where they miss the budget the price is corrected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ann2snn_diffusion.common.progress import Track
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.diffusion.noise_schedule import noise_schedule
from ann2snn_diffusion.diffusion.noising import image_error_weights
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates, any_state
from ann2snn_diffusion.evaluation.cost_tables import cost_table
from ann2snn_diffusion.evaluation.network_layout import NetworkLayout, layout_of
from ann2snn_diffusion.evaluation.prices import prices_of
from ann2snn_diffusion.evaluation.spike_count import count_spikes
from ann2snn_diffusion.spiking.calibrate import calibrate
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.sensitivity import measure_sensitivity
from ann2snn_diffusion.spiking.spike_prices import Plan, plan_of
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

COUNTED_SHARE = 8
"""For so many states that are calibrated on there is another that spikes are counted on."""
TOLERANCE = 0.02
"""Of the energy, beyond which the price of a spike is corrected."""
CORRECTIONS = 2
"""Of the price, at the most."""
PROBED_ROWS = 128
"""Values of each channel and noise segment that the price is found from."""
MOST_PROBED = 88
"""States of the backward pass."""


@dataclass(frozen=True)
class Recording:
    """All that networks at any energy are made from.

    Attributes:
        make: a network that is not yet calibrated.
        plan: what spikes cost and what they are worth.
        seen: states that networks are calibrated on, equally many of every noise segment.
        held_out: others, likewise, that spikes are counted on.
    """

    make: Callable[[], SpikingUNet2DModel]
    layout: NetworkLayout
    plan: Plan
    seen: NoisyStates
    held_out: NoisyStates


def record(
    make: Callable[[], SpikingUNet2DModel],
    scheduler: Any,
    draw: Callable[[int], NoisyStates],
    calibration: CalibrationSpec,
    track: Track,
) -> Recording:
    """Measure what spikes cost and what they are worth.

    Args:
        draw: noisy states, equally many of every noise segment in any two consecutive parts.
        calibration: the least energy that a network will be calibrated to, how many states, the seed.

    Raises:
        SpecError: an energy out of reach, before any state is drawn; a noise segment without a state.
        CostTableError: see `cost_table`.
    """
    costs, network = cost_table(calibration.costs), make()
    schedule = noise_schedule(scheduler)
    layout, last = layout_of(network, any_state(network, schedule)), len(schedule)
    bounds = [*schedule.starts(network.spec.segments), last]
    prices, widths = prices_of(layout, network, costs), torch.tensor(bounds).diff() / last
    prices.require_reach(calibration.energy or 0)
    count = calibration.states
    more = max(count // COUNTED_SHARE, len(network.spec.segments))
    drawn = draw(count + more)
    seen, held_out = drawn.part(slice(0, count)), drawn.part(slice(count, count + more))
    advance = track("sites' sensitivity", len(network.spec.segments))
    generator = stream("sensitivity", calibration.seed)
    probed = seen.part(slice(0, min(len(seen), MOST_PROBED)))
    sensitivity = measure_sensitivity(network, probed.arguments(), PROBED_ROWS, generator, advance)
    worth = image_error_weights(scheduler, bounds).to(network.device)
    plan = plan_of(network, sensitivity, prices, widths, worth)
    return Recording(make, layout, plan, seen, held_out)


def calibrated_to(
    energy: float, recording: Recording, calibration: CalibrationSpec, track: Track
) -> SpikingUNet2DModel:
    """A network, calibrated to spend the share ``energy`` of its ANN's energy, or less, where no digit is left to use.

    Raises:
        SpecError: the layers that stay analog spend as much.
    """
    aim, analog = energy, recording.plan.prices.analog_share
    network = _calibrated(aim, recording, calibration, track)
    for _ in range(CORRECTIONS):
        spent = energy_share(network, recording)
        if abs(spent / energy - 1) <= TOLERANCE or (spent < energy and aim >= recording.plan.most):
            break
        aim = analog + (aim - analog) * (energy - analog) / max(spent - analog, 1e-9)
        network = _calibrated(aim, recording, calibration, track)
    return network


def energy_share(unet: SpikingUNet2DModel, recording: Recording) -> float:
    """Share of the ANN's energy, counted on held-out states, each diffusion timestep counting the same."""
    states, prices, widths = recording.held_out, recording.plan.prices, recording.plan.widths
    counts = count_spikes(unet, recording.layout, states)
    segment = unet.segment_of(states.arguments()[1]).cpu()
    weights = (widths / segment.bincount(minlength=len(widths)))[segment].double()
    accumulates = sum((weights @ counted).item() for counted in counts.accumulates.values())
    return prices.analog_share + accumulates * prices.of_accumulate


def _calibrated(energy: float, recording: Recording, calibration: CalibrationSpec, track: Track) -> SpikingUNet2DModel:
    network = recording.make()
    advance = track("sites calibrated", len(network.neurons()))
    solve = partial(recording.plan.solve, recording.plan.multiplier(energy))
    generator = stream("calibration", calibration.seed, 1)
    calibrate(network, recording.seen.arguments(), calibration, generator, solve, advance)
    return network
