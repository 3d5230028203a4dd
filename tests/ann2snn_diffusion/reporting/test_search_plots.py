import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ann2snn_diffusion.reporting.search_plots import plot_curve, plot_map, plot_trade_off, trade_off_front
from ann2snn_diffusion.search.journal import Trial
from ann2snn_diffusion.search.result import Search

UNET: Any = None


def tried(value: float, spikes: float, *factors: float) -> Trial:
    return Trial({f"stage.{index}": factor for index, factor in enumerate(factors)}, value, spikes, 1.0, spikes / 200)


def search_of(*evaluations: Trial) -> Search:
    groups = tuple(evaluations[0].guidance)
    return Search(UNET, "FID", groups, evaluations, min(evaluations, key=lambda one: one.value), None, {})


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    best, frugal, between = tried(1, 100), tried(3, 50), tried(2, 70)
    beaten = [tried(3, 60), tried(2, 71), tried(4, 50), tried(1, 101)]
    assert trade_off_front([*beaten, best, frugal, between]) == [frugal, between, best]
    assert trade_off_front([]) == []


@pytest.mark.parametrize(
    "evaluations",
    [
        [tried(2.0, 100, 1.0)],
        [tried(2.0, 100, 1.0), tried(math.nan, 0, 1.1), tried(1.9, 90, 0.9)],
        [tried(2.0, 0, 1.0), tried(1.9, 0, 0.9)],
        [tried(-2.0, 100, 1.0), tried(-2.5, 90, 0.9)],
    ],
    ids=["factor 1 alone", "not finite", "no spikes", "negative"],
)
def test_whatever_was_tried_becomes_pictures(tmp_path: Path, evaluations: list[Trial]) -> None:
    several = [tried(one.value, one.spikes, *one.guidance.values(), 1.0) for one in evaluations]
    for plot, search in (
        (plot_curve, search_of(*evaluations)),
        (plot_map, search_of(*several)),
        (plot_trade_off, search_of(*several)),
    ):
        plot(tmp_path / "plot.png", search, "title")
        with Image.open(tmp_path / "plot.png") as picture:
            assert picture.width > 500
