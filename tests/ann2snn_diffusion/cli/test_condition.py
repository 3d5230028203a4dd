"""--condition: what lies beside noisy images, from a file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from safetensors.torch import save_file

from tests.ann2snn_diffusion.cli.test_convert import run
from tests.conftest import build_unet

FEW = ("--states", "14", "--energy", "0")


@pytest.fixture
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an ANN that takes conditions of two channels, and files of some."""
    DDPMPipeline(build_unet(in_channels=3), DDPMScheduler()).save_pretrained(tmp_path / "sr")  # pyright: ignore[reportArgumentType]
    save_file({"low": torch.rand(2, 2, 8, 8)}, tmp_path / "low.safetensors")
    np.save(tmp_path / "low.npy", np.zeros((1, 2, 8, 8), np.float32))
    np.save(tmp_path / "bytes.npy", np.zeros((1, 2, 8, 8), np.uint8))
    np.save(tmp_path / "wide.npy", np.zeros((1, 3, 8, 8), np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_conditions_go_with_every_command_that_needs_them(
    working: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--condition", "low.safetensors")
    assert run(monkeypatch, "convert", "sr", *FEW, *given, "--samples", "1") == 0
    assert (working / "sr-snn" / "samples.png").exists()
    assert run(monkeypatch, "sample", "sr-snn", "-n", "3", "--steps", "2", *given) == 0
    assert run(monkeypatch, "inspect", "sr-snn", "--condition", "low.npy") == 0
    assert run(monkeypatch, "evaluate", "sr-snn", "-n", "2", "--steps", "2", "--states-per-stratum", "1", *given) == 0
    written = json.loads((working / "sr-snn-evaluation" / "evaluation.json").read_text())
    assert len(written["settings"]["condition_digest"]) == 16
    capsys.readouterr()
    needs = "in_channels = 3 and out_channels = 1: expected a --condition beside the noisy image (channels: 2)"
    for arguments in (["sample", "-o", "new.png"], ["inspect"], ["evaluate", "-o", "new"]):
        refused = run(monkeypatch, arguments[0], "sr-snn", *arguments[1:])
        assert needs in str(refused)
    for command, what in (("finetune", "fine-tuning"), ("search-thresholds", "a search of thresholds")):
        refused = str(run(monkeypatch, command, "sr-snn", "-o", "new"))
        assert f"takes a condition beside the noisy image: {what} is not supported" in refused
    assert not list(working.glob("new*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a --condition beside the noisy image (channels: 2)"),
        (["--condition", "absent.npy"], "absent.npy: no such file"),
        (["--condition", "wide.npy"], "expected channels: 2 beside the noisy image"),
        (["--condition", "bytes.npy"], "expected floating-point numbers"),
        (["--front", "0.3"], "expected a --condition"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_fit_is_one_line_and_nothing_is_written(
    working: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    before = sorted(working.iterdir())
    refused = str(run(monkeypatch, "convert", "sr", *arguments))
    assert message in refused
    assert "\n" not in refused
    assert sorted(working.iterdir()) == before
