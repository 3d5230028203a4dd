"""A disk with room for so many files and folders more, for every number that a command comes to."""

import builtins
import errno
import io
import os
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from matplotlib.figure import Figure
from safetensors import SafetensorError

from tests.ann2snn_diffusion.cli.saved_models import save_models
from tests.ann2snn_diffusion.cli.test_convert import run

FULL = "No space left on device"


class Disk:
    """Counts what is made in a folder, and has room for no more than ``room`` of it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.room, self.made = folder, 10**6, 0
        opened, os_opened, made, serialized = io.open, os.open, os.mkdir, safetensors.torch.serialize_file

        def open_(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
            found = opened(file, mode, *rest, **more)  # as on a full disk: the file is there, and empty
            if set(mode) & set("wax+") and self.has(file) and not self.makes():
                found.close()
                raise OSError(errno.ENOSPC, FULL)
            return found

        def os_open(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            if flags & os.O_CREAT and self.has(path) and not self.makes():
                raise OSError(errno.ENOSPC, FULL)
            return os_opened(path, flags, *rest, **more)

        def mkdir(path: Any, *rest: Any, **more: Any) -> None:
            if self.has(path) and not Path(path).exists() and not self.makes():
                raise OSError(errno.ENOSPC, FULL)
            made(path, *rest, **more)

        def serialize_file(tensors: Any, filename: Any, *rest: Any, **more: Any) -> None:
            if not self.makes():
                Path(filename).touch()
                raise SafetensorError(f"Error while serializing: I/O error: {FULL} (os error 28)")
            serialized(tensors, filename, *rest, **more)

        monkeypatch.setattr(builtins, "open", open_)
        monkeypatch.setattr(io, "open", open_)
        monkeypatch.setattr(os, "open", os_open)
        monkeypatch.setattr(os, "mkdir", mkdir)
        monkeypatch.setattr(safetensors.torch, "serialize_file", serialize_file)

    def has(self, path: Any) -> bool:
        return not isinstance(path, int) and Path(os.fsdecode(path)).absolute().is_relative_to(self.folder)

    def makes(self) -> bool:
        self.made += 1
        return self.made <= self.room


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted model ``snn`` and its ANN ``ddpm``."""
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def disk(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    place = tmp_path / "disk"
    place.mkdir()
    for name in ("ddpm", "snn"):
        (tmp_path / name).symlink_to(folders / name)
    monkeypatch.chdir(place)
    return Disk(place, monkeypatch)


def content(folder: Path) -> dict[str, bytes]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


FEW = "--states 14 --positions 64 --sampler-steps 2"
COMMANDS = {
    "convert": f"convert ../ddpm -o out --energy 0 --time-steps 2 --segments 0 --samples 1 {FEW} --force",
    "finetune": "finetune ../snn -o out --steps 2 --checkpointing-steps 1 --train-batch-size 2 --sampler-steps 2 "
    "--samples 0 --force",
    "search": "search-thresholds ../snn -o out --count 14 --held-out 14 --evaluations 3 --bootstrap 2 "
    "--sampler-steps 2 --samples 0 --force",
    "sample": "sample ../snn -o out.png -n 1 --steps 1 --force",
    "evaluate": "evaluate ../snn -o out -n 2 --batch-size 1 --steps 1 --states-per-stratum 1 --plots plots",
    "inspect": "inspect ../snn --json out.json --plots plots --force",
}


LONG_WORK = [
    "ann2snn_diffusion.workflows.convert._calibrated",
    "ann2snn_diffusion.workflows.convert._measured",
    "ann2snn_diffusion.workflows.inspect.inspect",
    "ann2snn_diffusion.workflows.finetune.fidelity_states",
    "ann2snn_diffusion.workflows.finetune.fidelity_on",
    "ann2snn_diffusion.workflows.search_thresholds.measure_fidelity",
    "ann2snn_diffusion.workflows.search_thresholds.search_factors",
    "ann2snn_diffusion.workflows.evaluate.measure_fidelity",
]
"""That writes nothing."""


def done_once(work: Callable[..., Any]) -> Callable[..., Any]:
    found: list[Any] = []

    def again(*arguments: Any, **more: Any) -> Any:
        if not found:
            found.append(work(*arguments, **more))
        return found[0]

    return again


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_one_line_and_costs_nothing_that_was_there(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    for work in LONG_WORK:
        module, _, name = work.rpartition(".")
        monkeypatch.setattr(work, done_once(getattr(import_module(module), name)))
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **how: path.write_bytes(b"a picture"))
    arguments = [*COMMANDS[command].split(), "--device", "cpu"]
    assert run(monkeypatch, *arguments) == 0
    whole = content(disk.folder)
    for name in ("out-training", "out-search"):
        shutil.rmtree(disk.folder / name, ignore_errors=True)
    before = content(disk.folder)
    code: object = None
    for disk.room in range(10**6):
        disk.made = 0
        capfd.readouterr()
        code = run(monkeypatch, *arguments)
        after = content(disk.folder)
        if disk.made <= disk.room:
            break
        if code == 0:  # all but pictures
            assert {name for name in whole if not name.endswith(".png")} <= set(after)
        else:
            assert FULL in str(code)
            assert "\n" not in str(code)
            assert {name: bytes_ for name, bytes_ in after.items() if name in before} == before
        for line in capfd.readouterr().err.splitlines():
            assert "was left out" in line or "was not logged" in line
        assert not list(disk.folder.rglob(".*"))
        for name in ("out-training", "out-search"):
            shutil.rmtree(disk.folder / name, ignore_errors=True)
    assert code == 0
    assert disk.room >= 3
