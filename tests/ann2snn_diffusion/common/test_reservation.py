import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ann2snn_diffusion.common.atomic_output import OutputError, new_folder
from ann2snn_diffusion.common.reservation import reserved

HOLD = """
import sys, time
from pathlib import Path
from ann2snn_diffusion.common.atomic_output import new_folder
from ann2snn_diffusion.common.reservation import reserved
out = Path(sys.argv[1])
with reserved(out), new_folder(out, force=True) as folder:
    (folder / "half").write_text("x")
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_refused_at_once_and_told_who_writes(tmp_path: Path) -> None:
    with (
        reserved(tmp_path / "out"),
        pytest.raises(OutputError, match=rf"out is being written by process {os.getpid()} on .*`output`"),
        reserved(tmp_path / "out"),
    ):
        pass
    with reserved(tmp_path / "out"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_killed_writer_holds_nothing_and_the_next_one_clears_away_what_it_left(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(OutputError, match=f"process {process.pid}"), reserved(out):
            pass
        process.send_signal(signal.SIGKILL)
    assert sorted(os.listdir(tmp_path)) == [".out.lock", ".out.part"]
    with reserved(out), new_folder(out) as folder:
        (folder / "whole").write_text("y")
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(out) == ["whole"]


def test_the_folder_one_is_in_can_be_reserved_and_the_root_of_all_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with reserved(Path()):
        assert sorted(os.listdir(tmp_path)) == [".here.lock", "here"]
    with pytest.raises(OutputError, match="name a folder within it"), reserved(Path("/")):
        pass
