"""From which charge a firing step fires: C_t, in units, and which level a charge therefore becomes.

Let n_t be the highest level that the steps after t are to stand for: W_t − 1 where spikes have one sign, else ⌊½·W_t⌋,
or ⌊⅔·W_t⌋ with sparse radix coding. A step fires beyond the middle between n_t and n_t + 1,

    C_t = n_t + ½

or, with a dead zone, beyond where the squared error that it saves is worth the spikes that it adds,

    C_t = n_t + ½ + ½·π·(spikes(n_t + 1) − spikes(n_t)),    π = ½

Signed trains then stand for the level of least (v − n)² + π·spikes(n): image coders call it rate–distortion optimised
quantisation (Sullivan and Wiegand 1998). π = ½ is the price at which a scale is the best one for its spikes, nearly at
every rate. All C_t are multiples of ¼, so a table of the quarters of a unit is a closed form of all T steps.
"""

from __future__ import annotations

from collections.abc import Mapping

from ann2snn_diffusion.spiking.coding import Coding

SPIKE_PRICE = 0.5
"""π: squared units of error that a spike has to save where there is a dead zone."""


def conditions(
    weights: tuple[int, ...], coding: Coding, *, signed: bool, sparse: bool, dead_zone: bool
) -> Mapping[int, float]:
    """C of every weight, in units of the membrane that a loop over firing steps sees."""
    if signed and coding == "radix" and not sparse:
        return {weight: weight / 2 for weight in weights}
    later = {weight: _later(weight, coding, signed) for weight in weights}
    price = SPIKE_PRICE if dead_zone else 0
    # An unsigned neuron starts half a unit up.
    middle = 0.5 if signed else 1
    return {
        weight: level + middle + price / 2 * (_spikes(level + 1, weights, later) - _spikes(level, weights, later))
        for weight, level in later.items()
    }


def _later(weight: int, coding: Coding, signed: bool) -> int:
    """n_t."""
    if not signed:
        return weight - 1
    return 2 * weight // 3 if coding == "radix" else weight // 2


def _spikes(level: int, weights: tuple[int, ...], later: Mapping[int, int]) -> int:
    """Spikes that stand for a level of at least 0."""
    count = 0
    for weight in weights:
        if abs(level) > later[weight]:
            level -= weight if level > 0 else -weight
            count += 1
    return count
