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
from torch import Tensor

from ann2snn_diffusion.common.heap import give_back
from ann2snn_diffusion.common.progress import Track
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.common.shares import ALONE, Shares
from ann2snn_diffusion.diffusion.memory import fewer_if_large, images_at_once
from ann2snn_diffusion.diffusion.noise_schedule import noise_schedule
from ann2snn_diffusion.diffusion.noising import image_error_weights
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates, any_state
from ann2snn_diffusion.evaluation.cost_tables import cost_table
from ann2snn_diffusion.evaluation.network_layout import NetworkLayout, layout_of
from ann2snn_diffusion.evaluation.prices import prices_of
from ann2snn_diffusion.evaluation.spike_count import count_spikes
from ann2snn_diffusion.spiking.ann_outputs import SeenStates, seen_states
from ann2snn_diffusion.spiking.calibrate import calibrate
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.sensitivity import WATCHED, Sensitivity, measure_sensitivity, passing_values
from ann2snn_diffusion.spiking.spike_prices import Plan, plan_of
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.workflows.calibration_states import state_count
from ann2snn_diffusion.workflows.clipping import settle

COUNTED_SHARE = 8
"""For so many states that are calibrated on there is another that spikes are counted on."""
COUNTED_EACH = 2
"""Of these in each noise segment, at the least, unless fewer are calibrated on."""
TOLERANCE = 0.02
"""Of the energy, beyond which the price of a spike is corrected."""
CORRECTIONS = 2
"""Of the price, at the most."""
PROBED_VALUES, MOST_ROWS, LEAST_ROWS = 1 << 24, 512, 64
"""Values that the price is found from: of all watched channels and noise segments together, and of each."""
HELD_FOR_GRADIENTS = 4
"""Times what a forward pass holds, in a backward pass."""
MOST_PROBED = 44
"""States of the backward pass; fewer where they are large."""


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
    seen: SeenStates
    held_out: NoisyStates


def record(
    make: Callable[[], SpikingUNet2DModel],
    scheduler: Any,
    draw: Callable[[int], NoisyStates],
    calibration: CalibrationSpec,
    track: Track,
    shares: Shares = ALONE,
) -> Recording:
    """Measure what spikes cost and what they are worth.

    Args:
        draw: noisy states, equally many of every noise segment in any consecutive parts.
        calibration: the least energy that a network will be calibrated to, how many states, the seed.
        shares: of the processes that calibrate together; each of them measures this itself.

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
    count = state_count(calibration, network, len(network.spec.segments))
    segments = len(network.spec.segments)
    more = max(count // COUNTED_SHARE, min(count, COUNTED_EACH * segments), segments)
    drawn = draw(count + more)
    seen, held_out = drawn.part(slice(0, count)), drawn.part(slice(count, count + more))
    probed = seen.part(slice(0, fewer_if_large(network, MOST_PROBED, segments)))
    sensitivity = _sensitivity(network, probed, calibration.seed, track)
    if len(probed) == count:  # calibration will fit scales to these few states too, and on others spend more
        judged = _judged(network, held_out, calibration.seed, track)
    else:
        judged = {site: sample.rows for site, sample in sensitivity.values.items()}
    worth = image_error_weights(scheduler, bounds).to(network.device)
    plan = plan_of(network, sensitivity, judged, prices, widths, worth)
    give_back()
    return Recording(make, layout, plan, seen_by(network, seen, calibration, track, shares), held_out)


def seen_by(
    unet: SpikingUNet2DModel, states: NoisyStates, calibration: CalibrationSpec, track: Track, shares: Shares
) -> SeenStates:
    """This process's share of states with what the ANN makes of them, a few at a time."""
    own = states.part(shares.own(len(states)))
    advance, generator = track("ANN's outputs", len(own)), stream("places", calibration.seed)
    seen = seen_states(unet, own.arguments(), calibration, generator, images_at_once(unet), advance, shares)
    give_back()
    return seen


def _sensitivity(unet: SpikingUNet2DModel, states: NoisyStates, seed: int, track: Track) -> Sensitivity:
    advance, at_once = track("sites' sensitivity", len(unet.spec.segments)), images_at_once(unet, HELD_FOR_GRADIENTS)
    batch, generator, channels = states.arguments(), stream("sensitivity", seed), states.states.shape[1]
    return measure_sensitivity(unet, batch, _probed_rows(unet), generator, at_once, advance, channels)


def _judged(unet: SpikingUNet2DModel, states: NoisyStates, seed: int, track: Track) -> dict[str, Tensor]:
    advance, at_once = track("sites' values", len(unet.spec.segments)), images_at_once(unet)
    return passing_values(
        unet, states.arguments(), _probed_rows(unet), stream("sensitivity", seed, 1), at_once, advance
    )


def _probed_rows(unet: SpikingUNet2DModel) -> int:
    rows = PROBED_VALUES // (WATCHED * len(unet.neurons()) * len(unet.spec.segments))
    return max(LEAST_ROWS, min(MOST_ROWS, rows))


def calibrated_to(
    energy: float, recording: Recording, calibration: CalibrationSpec, track: Track
) -> SpikingUNet2DModel:
    """A network, calibrated to spend the share ``energy`` of its ANN's energy, or less, where no digit is left to use.

    Raises:
        SpecError: the layers that stay analog spend as much.
    """
    aim, analog = energy, recording.plan.prices.analog_share
    network = _calibrated(recording.make(), aim, recording, calibration, track)
    for _ in range(CORRECTIONS):
        spent = energy_share(network, recording)
        met = abs(spent / energy - 1) <= TOLERANCE or (spent < energy and aim >= recording.plan.most)
        if recording.seen.shares.of_main(met):
            break
        aim = analog + (aim - analog) * (energy - analog) / max(spent - analog, 1e-9)
        del network  # before there is another
        network = _calibrated(recording.make(), aim, recording, calibration, track)
    settle(network, recording.seen.batch, recording.seen.predicted, track)
    return network


def energy_share(unet: SpikingUNet2DModel, recording: Recording) -> float:
    """Share of the ANN's energy, counted on held-out states, each diffusion timestep counting the same."""
    states, prices, widths = recording.held_out, recording.plan.prices, recording.plan.widths
    counts = count_spikes(unet, recording.layout, states)
    segment = unet.segment_of(states.arguments()[1]).cpu()
    weights = (widths / segment.bincount(minlength=len(widths)))[segment].double()
    accumulates = sum((weights @ counted).item() for counted in counts.accumulates.values())
    return prices.analog_share + accumulates * prices.of_accumulate


def _calibrated(
    network: SpikingUNet2DModel, energy: float, recording: Recording, calibration: CalibrationSpec, track: Track
) -> SpikingUNet2DModel:
    advance = track("sites calibrated", len(network.neurons()))
    solve = partial(recording.plan.solve, recording.plan.multiplier(energy))
    generator = stream("calibration", calibration.seed, 1)
    calibrate(network, recording.seen, calibration, generator, solve, advance)
    give_back()
    return network
