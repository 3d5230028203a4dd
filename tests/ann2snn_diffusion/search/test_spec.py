from typing import Any, get_args

import pytest

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.search.spec import Dimension, SearchSpec
from ann2snn_diffusion.spiking.guidance import DIMENSIONS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bounds": (0.5, 0.9)}, "bounds = .*a range around 1"),
        ({"bounds": (1.1, 1.2)}, "a range around 1"),
        ({"bounds": (1.2, 0.8)}, "two ascending numbers"),
        ({"bounds": (0, 1.2)}, "two ascending numbers"),
        ({"bounds": (0.9, float("nan"))}, "bounds"),
        ({"bounds": (0.9, float("inf"))}, "bounds"),
        ({"bounds": (0.9,)}, "bounds"),
        ({"bounds": 5}, "bounds = 5"),
        ({"bounds": (1e-7, 1.1)}, "from 0.001 on"),
        ({"bounds": (0.9999999, 1.0000001)}, "as far apart"),
        ({"by": 3}, "by = 3: expected a list, each one of segment, stage, kind"),
        ({"by": "segment"}, "by = 'segment': expected a list, each one of"),
        ({"scheduler": 5}, "scheduler = 5"),
        ({"held_out": 1}, "held_out = 1: expected at least 14"),
        ({"objective": "kid", "seed": 2**32}, "seed = 4294967296"),
        ({"by": ("layer",)}, "by = .'layer',.: expected a list, each one of segment, stage, kind"),
        ({"by": ("stage", "stage")}, "each dimension once"),
        ({"optimizer": "adam"}, "optimizer = 'adam': expected one of bounded"),
        ({"optimizer": "bounded", "by": ("stage",)}, "bounded finds one factor only"),
        ({"objective": "is"}, "objective = 'is': expected one of epsilon"),
        ({"evaluations": 1}, "evaluations = 1"),
        ({"minutes": -1}, "minutes = -1"),
        ({"minutes": float("inf")}, "minutes"),
        ({"energy": float("nan")}, "energy"),
        ({"count": -1}, "count = -1"),
        ({"bootstrap": 1}, "bootstrap = 1"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_impossible_values_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        SearchSpec(**changes)


def test_one_factor_is_searched_in_an_interval_and_several_by_cobyqa() -> None:
    assert SearchSpec().chosen_optimizer == "bounded"
    assert SearchSpec(by=("stage",)).chosen_optimizer == "cobyqa"
    assert SearchSpec(optimizer="grid").chosen_optimizer == "grid"


def test_counts_fit_the_objective_unless_told() -> None:
    assert (SearchSpec().searched, SearchSpec().judged) == (112, 448)
    assert (SearchSpec(objective="fid").searched, SearchSpec(objective="denoise").judged) == (512, 1024)
    assert (SearchSpec(count=28).searched, SearchSpec(held_out=29).judged) == (28, 29)
    assert SearchSpec(objective="fid", count=5000).judged == 5000


def test_the_spec_names_every_dimension() -> None:
    assert get_args(Dimension) == DIMENSIONS


def test_a_search_knows_how_many_passes_it_takes() -> None:
    assert SearchSpec(objective="fid", count=100, batch_size=64, steps=10, evaluations=7).passes == 140
    assert SearchSpec(objective="epsilon", count=100, batch_size=64, steps=10, evaluations=7).passes == 14
