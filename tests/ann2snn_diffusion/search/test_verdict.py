import json
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ann2snn_diffusion.search.journal import Trial
from ann2snn_diffusion.search.objectives import Objective
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.search.verdict import WORST, Verdict, cost, judge
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

BASE = Trial({"all": 1.0}, 2.0, 1000.0, 1.0)
WINNER = Trial({"all": 0.9}, 1.8, 1100.0, 1.0)
SPEC = SearchSpec(bootstrap=200)
FEWEST = SearchSpec(bootstrap=200, goal="energy", tolerance=0.02)


class Guided:
    """Stands in for a network: something whose guidance is set."""

    guidance: dict[str, float]


def verdict_on(rows: Callable[[float], Tensor], spec: SearchSpec = SPEC) -> Verdict:
    objective = Objective("planted", lambda unet: rows(unet.guidance["all"]), lambda part: part.mean().item())  # pyright: ignore
    unet: SpikingUNet2DModel = Guided()  # pyright: ignore[reportAssignmentType]
    return judge(unet, objective, BASE, WINNER, spec)


def ends(verdict: Verdict) -> tuple[float, float]:
    assert verdict.interval is not None
    return verdict.interval


def noise(count: int, seed: int) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_gain_in_every_row_wins_however_rows_differ() -> None:
    verdict = verdict_on(lambda factor: 10 + 5 * noise(64, 0) + (factor - 1))
    assert verdict.difference == pytest.approx(-0.1)
    assert verdict.wins
    assert ends(verdict)[1] < 0


def test_a_difference_within_chance_does_not_win() -> None:
    verdict = verdict_on(lambda factor: 10 + noise(64, int(10 * factor)) + 0.01 * (factor - 1))
    assert not verdict.wins
    assert ends(verdict)[0] < 0 < ends(verdict)[1]


def test_the_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    held = 0
    for seed in range(100):
        verdict = verdict_on(lambda factor, seed=seed: noise(64, seed) * 2 * factor + factor - 1)
        held += ends(verdict)[0] <= -0.1 <= ends(verdict)[1]
    assert 88 <= held <= 100


def test_the_same_rows_are_drawn_again_every_time() -> None:
    def rows(factor: float) -> Tensor:
        return noise(32, int(10 * factor))

    assert verdict_on(rows) == verdict_on(rows)


def test_more_spikes_count_against_a_gain() -> None:
    def rows(factor: float) -> Tensor:
        return torch.full((8,), factor, dtype=torch.float64)

    assert verdict_on(rows, SearchSpec(energy=0.9)).wins  # 10 % better, 10 % more spikes
    assert not verdict_on(rows, SearchSpec(energy=1.1)).wins


def test_what_is_not_finite_on_held_out_rows_does_not_win() -> None:
    verdict = verdict_on(lambda factor: torch.full((8,), math.nan if factor < 1 else 1.0, dtype=torch.float64))
    assert not verdict.wins
    assert verdict.interval is None
    assert json.loads(json.dumps(verdict.to_dict(), allow_nan=False))["at_winner"] is None


def test_nothing_at_factor_one_is_no_division_by_zero() -> None:
    assert not verdict_on(lambda factor: torch.full((8,), 1.0 - factor, dtype=torch.float64)).wins


def test_cost_is_relative_to_factor_one_and_nan_is_worst() -> None:
    assert cost(BASE, BASE, SPEC) == 1
    assert cost(WINNER, BASE, SPEC) == pytest.approx(0.9)
    assert cost(WINNER, BASE, SearchSpec(energy=0.5)) == pytest.approx(0.9 + 0.5 * 1.1)
    assert cost(Trial({}, math.nan, 0, 0), BASE, SPEC) == WORST
    negative = Trial({}, -1.0, 10, 1)  # an unbiased KID can be below 0
    assert cost(Trial({}, -2.0, 10, 1), negative, SPEC) < cost(negative, negative, SPEC)


def test_where_spikes_are_to_be_fewest_the_objective_may_be_worse_within_the_tolerance() -> None:
    fewer, worse, far_worse = (Trial({}, 2.0 * (1 + loss), 800.0, 1) for loss in (0.0, 0.02, 0.03))
    assert [cost(one, BASE, FEWEST) for one in (fewer, worse)] == pytest.approx([0.8, 0.8])
    assert cost(far_worse, BASE, FEWEST) > cost(BASE, BASE, FEWEST) == 1
    negative = Trial({}, -1.0, 1000, 1)
    assert cost(Trial({}, -0.99, 800, 1), negative, FEWEST) == pytest.approx(0.8)
    assert cost(Trial({}, -0.9, 800, 1), negative, FEWEST) > 1
    assert cost(Trial({}, math.nan, 0, 0), BASE, FEWEST) == WORST


def test_fewest_spikes_win_unless_all_of_the_interval_is_a_loss() -> None:
    assert verdict_on(lambda factor: 10 + noise(64, int(10 * factor)), FEWEST).wins
    assert verdict_on(lambda factor: 10 + 5 * noise(64, 0) + (factor - 1), FEWEST).wins
    assert not verdict_on(lambda factor: 10 + 5 * noise(64, 0) - (factor - 1), FEWEST).wins
