from pathlib import Path

import pytest

from ann2snn_diffusion.evaluation.cost_tables import ENTRIES, TABLES, CostTable, CostTableError, cost_table

OWN = {"multiply_accumulate": 1.5, "accumulate": 0.5, "word_bytes": 2, "membrane_bytes": 4}
OWN |= {"access_8_kib": 1, "access_32_kib": 2, "access_1_mib": 10}


def written(file: Path, entries: dict[str, object]) -> str:
    file.write_text("".join(f"{name} = {value}\n" for name, value in entries.items()))
    return str(file)


def test_published_tables_go_by_name() -> None:
    assert (cost_table("horowitz-45nm").multiply_accumulate, cost_table("horowitz-45nm").accumulate) == (4.6, 0.9)
    assert (cost_table("int8").multiply_accumulate, cost_table("int8").accumulate) == (0.23, 0.03)
    wide = cost_table("int8-int32")
    assert (wide.multiply_accumulate, wide.accumulate, wide.membrane_bytes) == (0.3, 0.1, 4)


def test_a_file_of_ones_own_has_every_entry(tmp_path: Path) -> None:
    assert cost_table(written(tmp_path / "mine.toml", OWN)) == CostTable("mine", **OWN)  # pyright: ignore


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_missing_entry_is_named(tmp_path: Path, entry: str) -> None:
    file = written(tmp_path / "mine.toml", {name: value for name, value in OWN.items() if name != entry})
    with pytest.raises(CostTableError, match=f"mine.toml: {entry} is missing; expected multiply_accumulate, "):
        cost_table(file)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"accumulate": -0.9}, r"accumulate = -0\.9: expected a number from 0\."),
        ({"multiply_accumulate": 0}, r"multiply_accumulate = 0: expected a number above 0\."),
        ({"word_bytes": "true"}, r"word_bytes = True: expected a number from 0\."),
        ({"accumulate": '"cheap"'}, r"accumulate = 'cheap': expected a number from 0\."),
        ({"accumulate": "nan"}, r"accumulate = nan: expected a number from 0\."),
        ({"accumulate": "inf"}, r"accumulate = inf: expected a number from 0\."),
        ({"additions": 1}, r"unknown entry 'additions'; expected multiply_accumulate, "),
        ({"accumulate": "0.9 pJ"}, r"not readable as TOML"),
    ],
)
def test_bad_entries_are_one_clear_line(tmp_path: Path, entries: dict[str, object], message: str) -> None:
    with pytest.raises(CostTableError, match=f"mine.toml: {message}") as found:
        cost_table(written(tmp_path / "mine.toml", OWN | entries))
    assert "\n" not in str(found.value)


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(CostTableError, match=r"horowitz: no such table of costs or file.*horowitz-45nm, int8"):
        cost_table("horowitz")


def test_an_access_costs_what_is_published_and_between_lies_a_line() -> None:
    costs = TABLES["horowitz-45nm"]
    assert [costs.access(kib * 1024) for kib in (8, 32, 1024)] == [10, 20, 100]
    assert costs.access(20 * 1024) == pytest.approx(15)
    assert (costs.access(1), costs.access(1e9)) == (10, 100)
