import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.result_rows import ELSEWHERE, QUICK, ROWS, Row, Step
from benchmarks.results import PAGE, compared, program, remake, stored

ROW = Row("energy-025", (Step("made", "convert fashion-mnist"), Step("told.txt", "forward")),
          {"FID": ("made/figures.json", "snn.fid"), "within": ("made/figures.json", "within")})  # fmt: skip


class Ran:
    """In place of programs: writes what they would."""

    def __init__(self) -> None:
        self.programs: list[list[str]] = []

    def __call__(self, program: list[str], folder: Path, printed: Path | None) -> None:
        self.programs.append(program)
        if printed:
            printed.write_text("1.09\n")
            return
        (folder / "made").mkdir()
        (folder / "made" / "figures.json").write_text(json.dumps({"snn": {"fid": 4.87791}, "within": [0.11, 0.17]}))


def test_every_anchor_of_the_page_is_remade_or_says_by_what() -> None:
    anchors = re.findall(r'<a id="([^"]+)"></a>', PAGE.read_text())
    assert len(set(anchors)) == len(anchors)
    assert set(anchors) == {row.name for row in ROWS} | set(ELSEWHERE)


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    ran = Ran()
    remake(ROW, tmp_path, True, ran)
    remake(ROW, tmp_path, True, ran)
    assert len(ran.programs) == 2


def test_a_row_shows_its_figures_beside_those_of_the_page(tmp_path: Path) -> None:
    remake(ROW, tmp_path, True, Ran())
    found = compared(ROW, tmp_path)
    assert "- FID: 4.878\n- within: 0.11 … 0.17" in found
    assert "```\n1.09\n```" in found
    assert stored("energy-025") in found
    assert "4.85" in stored("energy-025")


def test_quick_adds_its_flags_and_full_none() -> None:
    step = ROW.steps[0]
    assert program(step, quick=True) == [*program(step, quick=False), *QUICK["convert"].split()]


def test_an_unknown_row_is_one_line() -> None:
    found = CliRunner().invoke(app, ["results", "--quick", "nothing"])
    assert found.exit_code == 1
    assert "nothing: no such row; expected one of energy-025" in str(found.exception or found.output)


def test_quick_or_full_must_be_said() -> None:
    assert CliRunner().invoke(app, ["results"]).exit_code == 2


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_commands_read_what_a_step_before_them_made(row: Row) -> None:
    made: set[str] = set()
    for step in row.steps:
        name, *arguments = step.command.split()
        if name in ("finetune", "evaluate", "search-thresholds"):
            assert arguments[0] in made
        made.add(step.makes)
