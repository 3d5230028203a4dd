import dataclasses
import shutil
from pathlib import Path

import pytest

from ann2snn_diffusion.common.atomic_output import OutputError
from ann2snn_diffusion.models.loading import load_converted
from ann2snn_diffusion.search.journal import JournalError
from ann2snn_diffusion.workflows.search_thresholds import search_thresholds_to_folder
from tests.ann2snn_diffusion.workflows.short_searches import (
    QUICK,
    replace_objective,
    search,
)


@pytest.mark.parametrize("optimizer", ["powell", "differential-evolution"])
def test_a_stopped_search_goes_on_from_its_journal(
    converted_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    def value(factor: float) -> float:
        return 1 + 50 * (factor - 1.03) ** 2

    spec = dataclasses.replace(QUICK, optimizer=optimizer)
    replace_objective(monkeypatch, value)
    whole = search(load_converted(converted_folder), tmp_path / "whole", spec)

    drawn: list[float] = []

    def stopping(factor: float) -> float:
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return value(factor)

    replace_objective(monkeypatch, stopping, drawn)
    with pytest.raises(KeyboardInterrupt):
        search(load_converted(converted_folder), tmp_path / "guided", spec)
    journal = tmp_path / "guided" / "journal.jsonl"
    with journal.open("a") as file:
        file.write('{"guidance": {"all"')  # a line cut short
    again: list[float] = []
    replace_objective(monkeypatch, value, again)
    found = search(load_converted(converted_folder), tmp_path / "guided", spec)
    assert [one.guidance for one in found.trials] == [one.guidance for one in whole.trials]
    assert not set(again[:-2]) & set(drawn[:3])  # the verdict draws factor 1 and the winner once more
    assert found.guidance == whole.guidance


def test_a_journal_of_another_search_is_refused(converted_folder: Path, tmp_path: Path) -> None:
    converted = load_converted(converted_folder)
    spec = dataclasses.replace(QUICK, evaluations=2)
    search(converted, tmp_path / "guided", spec)
    for changes, field in (({"seed": 1}, "seed"), ({"count": 14}, "count")):
        with pytest.raises(JournalError, match=field):
            search(converted, tmp_path / "guided", dataclasses.replace(spec, **changes))
    next(iter(converted.unet.neurons().values())).threshold.data.mul_(1.1)
    with pytest.raises(JournalError, match="model"):
        search(converted, tmp_path / "guided", spec)
    longer = dataclasses.replace(QUICK, evaluations=4, optimizer="grid", energy=0.5)
    search(load_converted(converted_folder), tmp_path / "guided", longer)


def test_a_model_is_no_place_for_a_journal(converted_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(converted_folder, tmp_path / "guided-search")
    with pytest.raises(OutputError, match="guided-search is a model"):
        search_thresholds_to_folder(load_converted(converted_folder), tmp_path / "guided", spec=QUICK)


def test_minutes_end_a_search(converted_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_objective(monkeypatch, lambda factor: factor)
    spec = dataclasses.replace(QUICK, minutes=1e-9, evaluations=50)
    found = search(load_converted(converted_folder), tmp_path / "guided", spec)
    assert len(found.trials) == 1
