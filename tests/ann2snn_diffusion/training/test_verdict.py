from types import SimpleNamespace
from typing import Any

import pytest

from ann2snn_diffusion.training.spec import TrainingSpec
from ann2snn_diffusion.training.verdict import improved, keeps_budget


def network(error: float, share: float = 1.0) -> Any:
    """Of this error, spending this share by the table of the budget, and half of it by any other."""
    spends = {"int8": share}
    costs = SimpleNamespace(energy=lambda table: SimpleNamespace(share=spends.get(table, share / 2)))
    return SimpleNamespace(geometric_error=error, costs=costs)


@pytest.mark.parametrize(
    ("before", "after", "better"),
    [(2.0, 1.0, True), (1.0, 2.0, False), (1.0, 1.0, False), (float("nan"), 1.0, True)],
)
def test_without_a_budget_less_error_is_better(before: float, after: float, better: bool) -> None:
    assert improved(network(before), network(after), TrainingSpec()) is better


@pytest.mark.parametrize(
    ("before", "after", "better"),
    [
        ((1.0, 0.40), (2.0, 0.20), True),  # only what was trained keeps its budget
        ((2.0, 0.20), (1.0, 0.22), False),  # it left it
        ((2.0, 0.20), (1.0, 0.205), True),  # both keep it, near enough
        ((1.0, 0.10), (2.0, 0.20), False),  # what spent less was better
        ((1.0, 0.40), (2.0, 0.30), True),  # neither does yet, and it is on its way
        ((2.0, 0.30), (1.0, 0.40), False),
    ],
)
def test_at_a_budget_the_one_that_keeps_it_is_better_and_of_two_the_one_of_less_error(
    before: tuple[float, float], after: tuple[float, float], better: bool
) -> None:
    assert improved(network(*before), network(*after), TrainingSpec(energy=0.2, costs="int8")) is better


def test_every_network_keeps_a_budget_that_is_none() -> None:
    assert keeps_budget(network(1.0, 1.0), TrainingSpec())
    assert not keeps_budget(network(1.0, 0.3), TrainingSpec(energy=0.2, costs="int8"))
