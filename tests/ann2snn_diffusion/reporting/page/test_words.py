from typing import Any

import pytest

from ann2snn_diffusion.reporting.page.words import percent, setting_text, steps

FIGURES = {"epsilon_error": 0.0003679, "energy_share": 0.15}


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [(0.15, 3, "15.0 %"), (0.992, 3, "99.2 %"), (2.745, 3, "274 %"), (0.00027, 2, "0.027 %"), (0, 3, "0 %"),
     (12.5, 3, "1,250 %")],
)  # fmt: skip
def test_percent_has_so_many_digits(share: float, digits: int, text: str) -> None:
    assert percent(share, digits).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "yes"), (None, "–"), ([], "–"), (1e-05, "1e-05"), ([0, 10], "0, 10"), ("cosine", "cosine"), (0, "0")],
)
def test_settings_are_words(value: Any, text: str) -> None:
    assert setting_text(value) == text


def test_every_command_tells_its_figures_before_and_after() -> None:
    first = {"command": "convert", "settings": {}, "versions": {"torch": "2.6"}, "before": None, "after": FIGURES}
    second = {
        "command": "search-thresholds", "settings": {}, "before": {"spikes": 1.5e6}, "after": {"verdict": {"kept": 1}}
    }  # fmt: skip
    convert, search = steps((first, second))
    assert convert.figures == (("relative ε error", "–", "0.0003679"), ("energy, share of the ANN's", "–", "0.1500"))
    assert (convert.versions, search.versions) == ("torch 2.6", "")
    assert search.figures == (("spikes", "1,500,000", "–"),)
