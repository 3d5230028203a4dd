"""Codings: how a train of T spikes stands for a number.

A neuron with threshold θ fires spikes of amplitude w_1·θ … w_T·θ, Σ_t w_t = 1. All codings here have step weights
that are integer multiples of one unit, so that every reachable value is a whole number of units:

    w_t = W_t / Σ W,    unit = θ / Σ W,    value = unit · Σ_t W_t·s_t

- ``rate``:    W_t = 1          T + 1 levels; the integrate-and-fire neuron of SDDPM (arXiv 2306.17046)
- ``radix``:   W_t = 2^(T−t)    2^T levels, most significant spike first; on hardware a shift of the membrane
- ``ternary``: W_t = 3^(T−t)    signed spikes only: 3^T levels (balanced ternary), a shift and an addition
"""

from __future__ import annotations

from typing import Literal, get_args

Coding = Literal["rate", "radix", "ternary"]
CODINGS: tuple[Coding, ...] = get_args(Coding)


def step_weights(coding: Coding, time_steps: int) -> tuple[int, ...]:
    """Integer step weights W_1 … W_T in units of the smallest level.

    Raises:
        ValueError: unknown coding, or fewer than one time step.
    """
    if time_steps < 1:
        raise ValueError(f"time_steps: expected at least 1, got {time_steps}.")
    base = {"rate": 1, "radix": 2, "ternary": 3}.get(coding)
    if base is None:
        raise ValueError(f"coding: expected one of {', '.join(CODINGS)}, got {coding!r}.")
    return tuple(base ** (time_steps - step) for step in range(1, time_steps + 1))


def level_range(weights: tuple[int, ...], signed: bool) -> tuple[int, int]:
    """Lowest and highest reachable level in units: every integer between them is a level."""
    highest = sum(weights)
    return (-highest if signed else 0), highest
