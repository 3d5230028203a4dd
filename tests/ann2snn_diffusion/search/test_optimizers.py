import contextlib
from typing import get_args

import numpy as np
import pytest

from ann2snn_diffusion.search.optimizers import OPTIMIZERS, Point
from ann2snn_diffusion.search.spec import OptimizerName


class SpentError(Exception):
    pass


def lowest(name: str, target: list[float], evaluations: int) -> tuple[Point, list[Point]]:
    """The best point that an optimizer asks for within a budget, and all of them."""
    asked: list[Point] = []

    def distance(point: Point) -> float:
        if len(asked) == evaluations:
            raise SpentError
        asked.append(np.array(point))
        return float(np.square(point - target).sum())

    with contextlib.suppress(SpentError):
        OPTIMIZERS[name](distance, np.full(len(target), 0.5), evaluations, 0)
    return min(asked, key=lambda point: float(np.square(point - target).sum())), asked


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_one_factor_is_found_within_the_cube(name: str) -> None:
    best, asked = lowest(name, [0.3], 31)
    assert abs(best[0] - 0.3) < 0.02
    assert all(point.min() >= 0 and point.max() <= 1 for point in asked)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ("bounded", "grid")])
def test_several_factors_are_found_within_the_cube(name: str) -> None:
    best, asked = lowest(name, [0.2, 0.8, 0.6], 200)
    assert np.abs(best - [0.2, 0.8, 0.6]).max() < 0.05
    assert all(point.min() >= 0 and point.max() <= 1 for point in asked)


def test_a_grid_has_equal_steps_and_both_ends() -> None:
    _, asked = lowest("grid", [0.3], 5)
    assert [point.tolist() for point in asked] == [[0.0], [0.25], [0.5], [0.75], [1.0]]
    _, asked = lowest("grid", [0.3, 0.3], 9)
    assert sorted({value for point in asked for value in point.tolist()}) == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(("evaluations", "steps"), [(3, 3), (4, 3), (5, 5), (6, 5), (7, 7), (8, 7)])
def test_a_grid_and_the_start_fit_into_the_budget(evaluations: int, steps: int) -> None:
    _, asked = lowest("grid", [0.3], evaluations)
    assert [point.item() for point in asked] == pytest.approx(np.linspace(0, 1, steps).tolist())
    tried = {round(point.item(), 6) for point in asked} | {0.5}
    assert len(tried) <= evaluations


def test_differential_evolution_goes_on_where_values_differ_by_percents() -> None:
    asked: list[Point] = []

    def nearly_flat(point: Point) -> float:
        if len(asked) == 300:
            raise SpentError
        asked.append(np.array(point))
        return 1 + 0.02 * float(np.square(point - 0.3).sum())

    with contextlib.suppress(SpentError):
        OPTIMIZERS["differential-evolution"](nearly_flat, np.full(3, 0.5), 300, 0)
    assert len(asked) == 300
    assert np.abs(min(asked, key=lambda point: float(np.square(point - 0.3).sum())) - 0.3).max() < 0.05


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equal_values_lead_to_equal_questions(name: str) -> None:
    first, second = (lowest(name, [0.3], 20)[1] for _ in range(2))
    assert np.array_equal(np.array(first), np.array(second))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_wall_of_worst_values_stops_nobody(name: str) -> None:
    asked: list[float] = []

    def half_forbidden(point: Point) -> float:
        if len(asked) == 60:
            raise SpentError
        asked.append(float(point[0]))
        return 1e12 if point[0] > 0.6 else float(np.square(point[0] - 0.45))

    with contextlib.suppress(SpentError):
        OPTIMIZERS[name](half_forbidden, np.array([0.5]), 60, 0)
    assert min(abs(position - 0.45) for position in asked) < 0.03


def test_the_spec_names_every_optimizer() -> None:
    assert get_args(OptimizerName) == ("", *OPTIMIZERS)
