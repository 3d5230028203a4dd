import math
from dataclasses import replace
from io import StringIO
from typing import Any

from rich.console import Console

from ann2snn_diffusion.reporting.search_table import print_search
from ann2snn_diffusion.search.journal import Trial
from ann2snn_diffusion.search.result import Search
from ann2snn_diffusion.search.verdict import Verdict

UNET: Any = None
ONE = Trial({"all": 1.0}, 0.5, 1000.0, 1.0)
BEST = Trial({"all": 0.9}, 0.4, 1100.0, 1.0)
SEARCH = Search(UNET, "FID", ("all",), (ONE, BEST), BEST, None, {})
VERDICT = Verdict(64, 0.52, 0.42, -0.1, (-0.12, -0.08), True, 0.0)


def printed(search: Search) -> str:
    console = Console(width=120, record=True, file=StringIO())
    print_search(console, search)
    return console.export_text()


def test_one_factor_is_a_curve_whose_best_is_marked() -> None:
    lines = printed(SEARCH).splitlines()
    rows = [line.split() for line in lines if line.strip()[:1] in "01" and "FID" not in line]
    assert ["0.9", "0.4", "0.8000", "←", "best", "+10.00%"] in rows
    assert ["1", "0.5", "1.0000", "+0.00%"] in rows


def test_many_settings_are_shortened_to_the_best_and_factor_one() -> None:
    worse = tuple(Trial({"all": 1 + step / 100}, 0.41 + step / 1000, 900, 1) for step in range(1, 30))
    text = printed(replace(SEARCH, trials=(ONE, *worse, BEST)))
    assert "1.01" in text
    assert "1.29" not in text
    assert "1.0000" in text
    assert "31 settings tried" in text


def test_what_is_not_finite_is_called_so() -> None:
    assert "not finite" in printed(replace(SEARCH, trials=(ONE, BEST, Trial({"all": 1.1}, math.nan, 0, 1))))


def test_several_factors_are_those_of_the_best() -> None:
    one, best = (replace(part, guidance={"stage.up": factor, "stage.down": 1.0}) for part, factor in
                 ((ONE, 1.0), (BEST, 0.93)))  # fmt: skip
    text = printed(Search(UNET, "FID", ("stage.up", "stage.down"), (one, best), best, VERDICT, {}))
    assert "0.93" in text
    assert "stage.down" in text


def test_the_verdict_says_what_is_stored() -> None:
    assert "Nothing tried is better than factor 1; factor 1 is stored." in printed(SEARCH)
    won = printed(replace(SEARCH, verdict=VERDICT))
    assert "Held out, 64 others: FID 0.52 → 0.42, difference -0.1 (-0.12 … -0.08): a gain" in won
    chance = printed(replace(SEARCH, verdict=replace(VERDICT, interval=(-0.2, 0.01), wins=False)))
    assert "no difference beyond chance; factor 1 is stored." in chance
    worse = printed(replace(SEARCH, verdict=replace(VERDICT, interval=(0.01, 0.02), wins=False)))
    assert "a loss; factor 1 is stored." in worse
    lost = printed(replace(SEARCH, verdict=Verdict(64, 0.52, math.nan, math.nan, None, False, 0.0)))
    assert "FID 0.52 → nan, not finite; factor 1 is stored." in lost


def test_what_spikes_weigh_stands_beside_the_difference() -> None:
    frugal = printed(replace(SEARCH, verdict=Verdict(64, 0.5, 0.51, 0.01, (0.0, 0.02), True, 0.1)))
    assert "difference +0.01 (+0 … +0.02), spikes weigh -0.05: a gain" in frugal


def test_the_winner_and_factor_one_are_shown_whatever_their_values() -> None:
    better = tuple(Trial({"all": 1 + step / 100}, 0.2 + step / 1000, 2000, 1) for step in range(1, 15))
    text = printed(replace(SEARCH, trials=(ONE, *better, BEST)))
    assert "← best" in text
    assert "1.0000" in text


def test_a_negative_kid_at_factor_one_is_still_one() -> None:
    one, best = replace(ONE, value=-0.5), replace(BEST, value=-0.6)
    text = printed(replace(SEARCH, trials=(one, best), winner=best))
    assert "1.0000" in text
    assert "0.8000 ← best" in text


def test_energy_is_told_where_it_was_counted() -> None:
    assert "of the ANN's" not in printed(SEARCH)
    best = replace(BEST, energy_share=0.512)
    counted = replace(SEARCH, trials=(replace(ONE, energy_share=0.5), best), winner=best)
    assert "energy 0.5000 → 0.5120 of the ANN's (counted operations × published constants" in printed(counted)
