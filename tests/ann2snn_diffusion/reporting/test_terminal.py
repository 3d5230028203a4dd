import io

import pytest
from rich.progress import Progress
from rich.table import Table

from ann2snn_diffusion.reporting.terminal import bars, console, following, lines, tell


def test_a_log_file_gets_a_line_a_minute_with_what_is_left() -> None:
    file, now = io.StringIO(), iter(range(0, 1000, 20))
    advance = lines(file, clock=lambda: next(now))("training", 12)
    for done in range(1, 7):
        advance(done, {"loss": 0.12345})
    assert file.getvalue() == "training: 2 of 12, 3 min left, loss 0.1235\ntraining: 5 of 12, 2 min left, loss 0.1235\n"


def test_what_is_left_follows_from_this_run_alone() -> None:
    file, now = io.StringIO(), iter(range(0, 1000, 20))
    advance = lines(file, clock=lambda: next(now))("training", 112)
    for done in range(101, 105):
        advance(done)
    assert file.getvalue() == "training: 102 of 112, 3 min left\n"


def test_a_resumed_bar_knows_only_its_own_speed() -> None:
    with Progress() as progress:
        advance = bars(progress)("training", 112)
        advance(101)
        (task,) = progress.tasks
        assert (task.completed, task.total) == (101, 112)
        assert sum(sample.completed for sample in task._progress) <= 1


def test_short_stages_together_get_a_line_a_minute() -> None:
    file, now = io.StringIO(), iter(range(0, 1000, 20))
    track = lines(file, clock=lambda: next(now))
    for stage in ("sensitivity", "calibration"):
        track(stage, 1)()
    assert file.getvalue() == "calibration: 1 of 1, under a minute left\n"


def test_tables_and_lines_in_a_pipe_are_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    name = "down_blocks." * 60
    table = Table("site")
    table.add_row(name)
    console().print(table)
    tell(console(), f"[{name}]")
    assert f" {name} " in (printed := capsys.readouterr().out)
    assert f"[{name}]\n" in printed


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    tell(console(quiet=True), "result")
    with following(quiet=True) as track:
        track("training", 2)(1)
    assert capsys.readouterr() == ("", "")
