from pathlib import Path

from ann2snn_diffusion.cli.options_page import page

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_is_up_to_date() -> None:
    assert (DOCS / "options.md").read_text() == page(), "python -m ann2snn_diffusion.cli.options_page > docs/options.md"


def test_a_row_tells_key_flag_value_default_and_meaning() -> None:
    rows = page().splitlines()
    assert {row.count("|") for row in rows if row.startswith("|")} == {6}
    meaning = "Ticks of the spiking network, T."
    assert f"| `time_steps` | `--time-steps` | a whole number from 1 to 16 | 4 | {meaning} |" in rows
    assert any(row.startswith("| `use_ema` | `--use-ema`, `--no-use-ema` | true or false | true | ") for row in rows)
    assert any(row.startswith("| `guidance` | – | a factor in (0, 10], ") for row in rows)
    assert sum(row.startswith("| `count` | `--count`, `-n` |") for row in rows) == 2
