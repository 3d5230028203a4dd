from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ann2snn_diffusion.training.state_file import load_state, save_state


def test_a_nested_state_comes_back_to_the_bit_with_its_kinds(tmp_path: Path) -> None:
    shared = torch.rand(3)
    state = {
        "state": {0: {"step": torch.tensor(3.0), "average": shared}, 1: {"average": shared}},
        "groups": [{"betas": (0.9, 0.1 + 0.2), "foreach": None, "name": "ε", "capturable": False}],
        "empty": [(), {}, []],
    }
    save_state(tmp_path / "state", state)
    found = load_state(tmp_path / "state")
    assert found["groups"] == state["groups"]
    assert found["empty"] == state["empty"]
    assert found["state"].keys() == {0, 1}
    assert torch.equal(found["state"][0]["average"], shared)
    assert torch.equal(found["state"][1]["average"], shared)


def test_what_would_need_code_to_come_back_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a PosixPath cannot be saved"):
        save_state(tmp_path / "state", {"here": tmp_path})


@pytest.mark.parametrize("metadata", [None, {}, {"structure": "["}, {"structure": '["exec", "x"]'}])
def test_other_files_are_refused(tmp_path: Path, metadata: Any) -> None:
    save_file({"0": torch.zeros(1)}, tmp_path / "state", metadata)
    with pytest.raises((ValueError, KeyError)):
        load_state(tmp_path / "state")
