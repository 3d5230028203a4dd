import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ann2snn_diffusion.common.atomic_output import (
    REPORT_FILE,
    OutputError,
    beside,
    new_folder,
    refuse_existing_file,
    work_beside,
)


def test_the_folder_appears_only_when_complete(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as partial:
        (partial / "file").write_text("x")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "file").read_text() == "x"
    assert os.listdir(tmp_path) == ["out"]


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out"):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def a_result(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / REPORT_FILE).write_text("{}")
    return folder


def test_an_existing_folder_is_kept_unless_forced(tmp_path: Path) -> None:
    a_result(tmp_path / "out")
    with pytest.raises(OutputError, match=r"exists already.*`output`.*`force`"), new_folder(tmp_path / "out"):
        pass
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out", force=True):
        raise ZeroDivisionError
    assert (tmp_path / "out" / REPORT_FILE).exists()
    with new_folder(tmp_path / "out", force=True) as partial:
        assert (tmp_path / "out" / REPORT_FILE).exists()
        (partial / "new").write_text("y")
    assert os.listdir(tmp_path / "out") == ["new"]
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("source", ["out", "out/unet", "", "out/../out"])
def test_force_never_replaces_what_is_read_nor_a_folder_around_or_inside_it(tmp_path: Path, source: str) -> None:
    a_result(tmp_path / "out")
    (tmp_path / "out" / "unet").mkdir()
    with pytest.raises(OutputError, match=r"which is read"), new_folder(tmp_path / "out", True, tmp_path / source):
        pass
    assert (tmp_path / "out" / REPORT_FILE).exists()


def test_force_replaces_nothing_that_this_package_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"no conversion_report.json"), new_folder(tmp_path / "thesis", force=True):
        pass
    (tmp_path / "link").symlink_to(a_result(tmp_path / "elsewhere"))
    with pytest.raises(OutputError, match="is a link"), new_folder(tmp_path / "link", force=True):
        pass
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "years of work"


def test_a_replaced_folder_comes_back_where_a_kill_came_between_the_two_renamings(tmp_path: Path) -> None:
    a_result(tmp_path / ".out.prev")
    with pytest.raises(OutputError, match="exists already"), new_folder(tmp_path / "out"):
        pass
    assert os.listdir(tmp_path) == ["out"]
    a_result(tmp_path / ".out.prev")  # and where it came before the old one was removed
    with new_folder(tmp_path / "out", force=True):
        pass
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["n" * 300, "n" * 252, "nul\0"])
def test_a_name_that_cannot_be_is_refused_before_any_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="cannot be"), new_folder(tmp_path / name):
        pytest.fail("got to work")


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="No space left on device; nothing was left behind"),
        new_folder(tmp_path / "o"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for output in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OutputError), new_folder(output, force=True):
            pass
    assert (tmp_path / "file").read_text() == "x"
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    with pytest.raises(OutputError, match="link"), new_folder(tmp_path / "nowhere", force=True):
        pass


def test_a_file_is_replaced_by_force_alone_and_nothing_else_in_its_place_ever(tmp_path: Path) -> None:
    file, link = tmp_path / "pic.png", tmp_path / "link.png"
    refuse_existing_file(file, force=False)
    file.write_text("a picture")
    with pytest.raises(OutputError, match=r"pic\.png exists already.*`force`"):
        refuse_existing_file(file, force=False)
    refuse_existing_file(file, force=True)
    link.symlink_to(file)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for place, message in {link: "is a link", tmp_path / "pipe.png": "is no file", tmp_path / "folder.png": ""}.items():
        with pytest.raises(OutputError, match=message or "expected a file name"):
            refuse_existing_file(place, force=True)


@pytest.mark.parametrize("named", [beside, work_beside])
def test_next_to_the_root_there_is_nothing(named: Callable[[Path, str], Path]) -> None:
    with pytest.raises(OutputError, match="name a folder within it"):
        named(Path("/"), "training")


def test_work_lies_next_to_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert work_beside(Path("out"), "training") == Path("out-training")
    assert work_beside(Path("."), "training") == tmp_path.with_name(f"{tmp_path.name}-training")
