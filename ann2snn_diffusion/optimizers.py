"""SciPy's optimizers under one signature: each minimises a function on [0, 1]^D from a start point.

How many times the function may be called is its own affair: it raises when its budget is spent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
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


def _grid(function: Function, start: Point, evaluations: int, seed: int) -> Any:
    """As many equal steps along each dimension as the budget allows, both ends included."""
    del seed
    dimensions = len(start)
    steps = max(2, int((evaluations + 0.5) ** (1 / dimensions)))
    ranges = (slice(0, 1, complex(0, steps)),) * dimensions
    return optimize.brute(lambda position: function(np.atleast_1d(position)), ranges, finish=None)


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
    # Some ten generations within the budget; SciPy never lets a population have fewer than five members.
    members = max(1, evaluations // (10 * len(start)))
    return optimize.differential_evolution(
        function, [(0, 1)] * len(start), x0=start, popsize=members, maxiter=evaluations, rng=seed, polish=False
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
