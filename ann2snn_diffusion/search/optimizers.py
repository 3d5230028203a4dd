"""SciPy's optimizers under one signature: each minimises a function on [0, 1]^D from a start point.

How many times the function may be called is its own affair: it raises when its budget is spent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

Point = NDArray[np.float64]
Function = Callable[[Point], float]
Optimizer = Callable[[Function, Point, int, int], Any]
"""Takes the function, the start [D], the number of evaluations that it may count on, and a seed."""

FIRST_STEP = 0.25
FINEST_STEP = 1e-3


def _bounded(function: Function, start: Point, evaluations: int, seed: int) -> Any:
    del start, seed
    options = {"xatol": FINEST_STEP, "maxiter": evaluations}
    return optimize.minimize_scalar(
        lambda position: function(np.array([position])), bounds=(0, 1), method="bounded", options=options
    )


def _grid(function: Function, start: Point, evaluations: int, seed: int) -> None:
    """Equal steps along each dimension, both ends included: the most that the budget allows beside the start."""
    del seed
    steps = 2
    while _grid_points(steps + 1, start) <= evaluations:
        steps += 1
    for position in product(np.linspace(0, 1, steps), repeat=len(start)):
        function(np.array(position))


def _grid_points(steps: int, start: Point) -> int:
    """Points of a grid and the start, which may be one of them."""
    on_grid = np.isclose(start * (steps - 1) % 1, 0) | np.isclose(start * (steps - 1) % 1, 1)
    return steps ** len(start) + (not on_grid.all())


def _minimize(
    method: str, options: Mapping[str, float], function: Function, start: Point, evaluations: int, seed: int
) -> Any:
    del seed
    limits = {"maxfev": evaluations, **options}
    return optimize.minimize(function, start, method=method, bounds=[(0, 1)] * len(start), options=limits)


def _nelder_mead(function: Function, start: Point, evaluations: int, seed: int) -> Any:
    simplex = np.vstack([start, start + FIRST_STEP * np.where(start > 0.5, -1, 1) * np.eye(len(start))])
    options: dict[str, Any] = {"initial_simplex": simplex, "xatol": FINEST_STEP, "fatol": 0}
    return _minimize("Nelder-Mead", options, function, start, evaluations, seed)


def _differential_evolution(function: Function, start: Point, evaluations: int, seed: int) -> Any:
    # Some ten generations within the budget; SciPy never lets a population have fewer than five members. Costs differ
    # by percents, which its tolerance would take for convergence.
    members = max(1, evaluations // (10 * len(start)))
    return optimize.differential_evolution(
        function, [(0, 1)] * len(start), x0=start, popsize=members, maxiter=evaluations, rng=seed, tol=0, polish=False
    )


def _direct(function: Function, start: Point, evaluations: int, seed: int) -> Any:
    del seed
    return optimize.direct(function, [(0, 1)] * len(start), maxfun=evaluations)


OPTIMIZERS: Mapping[str, Optimizer] = MappingProxyType(
    {
        "bounded": _bounded,
        "grid": _grid,
        "powell": partial(_minimize, "Powell", {"xtol": 1e-2, "ftol": 1e-6}),
        "nelder-mead": _nelder_mead,
        "cobyqa": partial(
            _minimize, "COBYQA", {"initial_tr_radius": FIRST_STEP, "final_tr_radius": FINEST_STEP, "scale": False}
        ),
        "differential-evolution": _differential_evolution,
        "direct": _direct,
    }
)
"""By the name that a user gives."""
