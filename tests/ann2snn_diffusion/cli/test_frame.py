import errno
import sys
import warnings
from collections.abc import Callable

import pytest
import torch

from ann2snn_diffusion import cli
from ann2snn_diffusion.common.errors import A2SError
from tests.ann2snn_diffusion.cli.test_convert import run


def raising(error: BaseException) -> Callable[[], None]:
    def app() -> None:
        warnings.warn("something is deprecated", stacklevel=1)
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (A2SError("expected this,\n  got that"), "error: expected this, got that"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/out"),
            "error: /out could not be read or written: No space",
        ),
        (
            OSError(errno.ENAMETOOLONG, "File name too long", "a" * 300),
            f"error: {'a' * 300} could not be read or written: File name too long",
        ),
        (MemoryError(), "error: out of memory; ask for less"),
        (ImportError("needs torchsde\n"), "error: a library is missing: needs torchsde"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, message: str
) -> None:
    monkeypatch.setattr(cli, "app", raising(error))
    found = str(run(monkeypatch))
    assert found.startswith(message)
    assert "\n" not in found
    assert capsys.readouterr().err == ""


def test_out_of_memory_says_how_much_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "app", lambda: torch.empty(2**48))
    assert "out of memory: 1,048,576.0 GiB were asked for" in str(run(monkeypatch))


def test_what_nobody_foresaw_is_one_line_and_exit_code_70(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "app", raising(ZeroDivisionError("by zero\nand more")))
    assert run(monkeypatch) == 70
    line = "error: unexpected ZeroDivisionError: by zero; rerun with --debug for the traceback\n"
    assert capsys.readouterr().err == line


def test_debug_shows_the_traceback_of_any_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "app", raising(A2SError("mend this")))
    monkeypatch.setattr(sys, "argv", ["a2s", "--debug"])
    with pytest.raises(SystemExit, match="mend this"), pytest.warns(match="something is deprecated"):
        cli.main()
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_the_version_is_the_package_s(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("ann2snn-diffusion 0.")
