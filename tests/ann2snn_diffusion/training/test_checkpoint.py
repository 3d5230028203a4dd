import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from hypothesis import HealthCheck, given, settings
from torch import nn

from ann2snn_diffusion.training.checkpoint import (
    ResumeError,
    TrainingProgress,
    checkpoints,
    load_checkpoint,
    save_checkpoint,
    set_aside_newer,
)
from tests.mutations import changes, loaded

LIMIT = 9


def parts(value: float = 1.0) -> dict[str, Any]:
    network = nn.Linear(2, 2)
    nn.init.constant_(network.weight, value)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return {"network": network, "optimizer": optimizer}


def save(folder: Path, step: int, value: float = 1.0, limit: int = LIMIT) -> Path:
    save_checkpoint(
        Accelerator(cpu=True), folder, TrainingProgress(step, 1.5, None), parts(value), {"model": "m"}, limit
    )
    return folder / f"checkpoint-{step:06d}"


def load(checkpoint: Path, into: dict[str, Any] | None = None) -> TrainingProgress:
    return load_checkpoint(Accelerator(cpu=True), checkpoint, into or parts(), {"model": "m"}, None)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_parts_and_random_numbers_come_back_to_the_bit(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 5, value=0.1)
    expected, into = torch.rand(3), parts()
    assert load(checkpoint, into) == TrainingProgress(5, 1.5, None)
    assert torch.equal(torch.rand(3), expected)
    saved = parts(0.1)
    assert torch.equal(into["network"].weight, saved["network"].weight)
    assert torch.equal(into["optimizer"].state_dict()["state"][0]["exp_avg"],
                       saved["optimizer"].state_dict()["state"][0]["exp_avg"])  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(change=changes(["run", "files", "step", "seconds"]))
def test_whatever_became_of_training_json_it_means_the_same_or_is_refused_by_field(
    tmp_path: Path, change: tuple[str, Any]
) -> None:
    checkpoint, (field, value) = tmp_path / "checkpoint-000005", change
    shutil.rmtree(checkpoint, ignore_errors=True)
    file = save(tmp_path, 5) / "training.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    found, line = loaded(lambda: load(checkpoint))
    assert "\n" not in line
    if line:
        meant = {"run": "of another training: model", "files": "not what training.json says"}
        assert field in line or meant[field] in line
    else:
        assert found == TrainingProgress(5, 1.5, None)


def test_a_newer_checkpoint_is_set_aside_and_kept_until_its_step_is_reached_again(tmp_path: Path) -> None:
    for step in (2, 4, 6):
        save(tmp_path, step)
    set_aside_newer(tmp_path, 2)
    assert [place.name for place in checkpoints(tmp_path)] == ["checkpoint-000002"]
    assert load(tmp_path / "superseded-checkpoint-000006").step == 6
    save(tmp_path, 4, limit=2)
    assert names(tmp_path) == ["checkpoint-000002", "checkpoint-000004", "superseded-checkpoint-000006"]
    save(tmp_path, 6)
    set_aside_newer(tmp_path, 4)
    set_aside_newer(tmp_path, 4)
    assert names(tmp_path) == ["checkpoint-000002", "checkpoint-000004", "superseded-checkpoint-000006"]


@pytest.mark.parametrize("file", ["state.safetensors", "random-0.safetensors"])
def test_one_flipped_bit_is_found(tmp_path: Path, file: str) -> None:
    checkpoint = save(tmp_path, 2)
    content = bytearray((checkpoint / file).read_bytes())
    content[-1] ^= 1
    (checkpoint / file).write_bytes(content)
    with pytest.raises(ResumeError, match=rf"damaged: {file} is not what training.json says; resume from another"):
        load(checkpoint)


@pytest.mark.parametrize(
    "change", [{"step": 999}, {"seconds": "x"}, {"files": []}, {"run": None}, {"files": {"absent": "0"}}]
)
def test_what_training_json_says_is_held_against_the_checkpoint(tmp_path: Path, change: dict[str, Any]) -> None:
    file = save(tmp_path, 2) / "training.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ResumeError, match="damaged"):
        load(file.parent)


class Payload:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["A2S_PAYLOAD"],)


def test_nothing_in_a_checkpoint_can_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2S_PAYLOAD", str(tmp_path / "ran"))
    checkpoint = save(tmp_path, 2)
    assert {file.suffix for file in checkpoint.iterdir()} == {".json", ".safetensors"}
    for name in ("custom_checkpoint_0.pkl", "random_states_0.pkl", "optimizer.bin", "scheduler.bin"):
        (checkpoint / name).write_bytes(pickle.dumps(Payload()))
    assert load(checkpoint).step == 2
    (checkpoint / "state.safetensors").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ResumeError):
        load(checkpoint)
    content = json.loads((checkpoint / "training.json").read_text())
    del content["files"]
    (checkpoint / "training.json").write_text(json.dumps(content))
    with pytest.raises(ResumeError, match="an earlier version wrote it"):
        load(checkpoint)
    assert not (tmp_path / "ran").exists()
