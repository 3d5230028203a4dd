import math
from pathlib import Path

import pytest

from ann2snn_diffusion.common.atomic_output import OutputError
from ann2snn_diffusion.search.journal import JournalError, Trial, append, open_journal

IDENTITY = {"model": "abc", "objective": "fid", "count": 4}
ONE = Trial({"all": 1.0}, 0.25, 100.0, 1.5)
NOT_FINITE = Trial({"all": 1.1}, math.nan, 90.0, 1.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_what_was_appended_is_found_again_nan_included(file: Path) -> None:
    assert open_journal(file, IDENTITY) == []
    append(file, ONE)
    append(file, NOT_FINITE)
    first, second = open_journal(file, IDENTITY)
    assert first == ONE
    assert math.isnan(second.value)
    assert second.guidance == NOT_FINITE.guidance


def test_energy_is_kept_and_missing_in_journals_of_earlier_versions(file: Path) -> None:
    open_journal(file, IDENTITY)
    append(file, Trial({"all": 0.9}, 0.2, 90.0, 1.0, 0.48))
    with file.open("a") as journal:
        journal.write('{"guidance": {"all": 1.0}, "value": 0.25, "spikes": 100.0, "seconds": 1.5}\n')
    new, old = open_journal(file, IDENTITY)
    assert new.energy_share == 0.48
    assert old.spikes == 100
    assert math.isnan(old.energy_share)


def test_a_line_cut_short_is_dropped_and_overwritten(file: Path) -> None:
    open_journal(file, IDENTITY)
    append(file, ONE)
    whole = file.read_text()
    append(file, NOT_FINITE)
    longer = file.read_text()
    for length in range(len(whole), len(longer)):
        file.write_text(longer[:length])
        assert open_journal(file, IDENTITY) == [ONE]
        assert file.read_text() == whole


def test_equal_factors_are_equal_in_any_order() -> None:
    pair = ({"stage.up": 1.0, "all": 0.9}, {"all": 0.9, "stage.up": 1.0})
    assert len({Trial(guidance, 0, 0, 0).key for guidance in pair}) == 1


@pytest.mark.parametrize("field", list(IDENTITY))
def test_a_journal_of_another_search_is_refused_and_stays(file: Path, field: str) -> None:
    open_journal(file, IDENTITY)
    append(file, ONE)
    before = file.read_text()
    with pytest.raises(JournalError, match=f"{field} was .* now 'other'"):
        open_journal(file, IDENTITY | {field: "other"})
    with pytest.raises(JournalError, match="more was None, now 1"):
        open_journal(file, IDENTITY | {"more": 1})
    with pytest.raises(JournalError, match=f"{field} was .* now None"):
        open_journal(file, {name: value for name, value in IDENTITY.items() if name != field})
    assert file.read_text() == before


def test_a_journal_without_an_evaluation_belongs_to_any_search(file: Path) -> None:
    open_journal(file, IDENTITY)
    other = IDENTITY | {"count": 5}
    assert open_journal(file, other) == []
    append(file, ONE)
    assert open_journal(file, other) == [ONE]


@pytest.mark.parametrize(
    "content",
    ["", "not json\n", "[]\n", "3\n", '{"model": "abc", "objective": "fid", "count": 4}\n{"guidance": 3}\n', "\x00\n"],
)
def test_what_is_no_journal_is_refused_and_stays(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(JournalError):
        open_journal(file, IDENTITY)
    assert file.read_text() == content


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        append(tmp_path / "absent" / "journal.jsonl", ONE)
