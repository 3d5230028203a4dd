from pathlib import Path

import pytest
from diffusers import DDPMPipeline, DDPMScheduler

from ann2snn_diffusion.common.reservation import reserved
from ann2snn_diffusion.models.program_file import loaded_program
from tests.ann2snn_diffusion.cli.test_convert import run
from tests.ann2snn_diffusion.workflows.exported import tiny_network

pytestmark = pytest.mark.usefixtures("in_a_folder_with_snn")


@pytest.fixture
def in_a_folder_with_snn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    DDPMPipeline(tiny_network(), DDPMScheduler()).save_pretrained("snn")  # pyright: ignore[reportArgumentType]


def test_a_program_takes_the_folders_name_and_how_well_it_agrees_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Path("snn.pt2").write_text("mine")
    assert "exists already; choose another name, or set --force to replace it" in str(run(monkeypatch, "export", "snn"))
    assert Path("snn.pt2").read_text() == "mine"
    assert run(monkeypatch, "export", "snn", "--force") == 0
    assert "snn.pt2: gives what the network gives; relative error " in capsys.readouterr().out
    assert loaded_program(Path("snn.pt2"), "torch")[1]["time_steps"] == 2
    assert {file.name for file in tmp_path.iterdir()} == {"snn", "snn.pt2"}


def test_a_file_that_is_being_written_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    with reserved(Path("snn.pt2")):
        assert "is being written by process" in str(run(monkeypatch, "export", "snn"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "expected a folder that a2s convert wrote"),
        (["snn", "-o", "snn.onnx"], "--output snn.onnx: expected a name that ends in .pt2"),
        (["snn", "-o", "snn.pt2", "--format", "onnx"], "expected a name that ends in .onnx"),
        (["snn", "-o", "nowhere/snn.pt2"], "expected a file name in a folder that exists"),
        (["snn", "--spikes", "--format", "onnx"], "--spikes: expected no --format onnx beside it"),
        (["snn", "--condition", "nothing.npy"], "nothing.npy"),
        (["snn", "--rules", "nothing.py"], "nothing.py"),
    ],
)
def test_what_cannot_be_exported_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str],
    message: str,
) -> None:  # fmt: skip
    found = run(monkeypatch, "export", *arguments)
    assert message in str(found)
    assert "\n" not in str(found)
    assert not capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["snn"]
