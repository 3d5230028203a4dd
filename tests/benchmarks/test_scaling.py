from pathlib import Path

from benchmarks.scaling import duration, table

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


def test_the_page_has_the_table_that_is_computed() -> None:
    assert table() in PAGE.read_text(), "python -m benchmarks.scaling"


def test_durations_are_in_minutes_up_to_two_hours() -> None:
    assert [duration(seconds) for seconds in (282, 7199, 7200)] == ["5 min", "120 min", "2 h"]
