from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ann2snn_diffusion.data.condition_file import ConditionFileError, read_conditions

VALUES = torch.linspace(-1, 1, 2 * 3 * 4 * 4).view(2, 3, 4, 4)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.float64])
def test_a_tensor_is_read_from_either_format_as_float32(tmp_path: Path, kind: torch.dtype) -> None:
    save_file({"anything": VALUES.to(kind)}, tmp_path / "a.safetensors")
    np.save(tmp_path / "a.npy", VALUES.to(kind).numpy())
    for name in ("a.safetensors", "a.npy"):
        found = read_conditions(tmp_path / name)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, VALUES.to(kind).float())


def test_bytes_of_another_order_are_the_same_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "big.npy", VALUES.numpy().astype(">f4"))
    assert torch.equal(read_conditions(tmp_path / "big.npy"), VALUES)


def test_whole_numbers_stay_what_they_are(tmp_path: Path) -> None:
    np.save(tmp_path / "bytes.npy", np.zeros((1, 1, 4, 4), np.uint8))
    assert read_conditions(tmp_path / "bytes.npy").dtype == torch.uint8


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.npy", "no such file of conditions"),
        ("folder.npy", "no such file of conditions"),
        ("picture.png", r"ends in \.safetensors or \.npy"),
        ("damaged.safetensors", r"not readable as \.safetensors"),
        ("damaged.npy", r"not readable as \.npy"),
        ("objects.npy", r"not readable as \.npy"),
        ("texts.npy", r"not readable as \.npy"),
        ("empty.npy", r"not readable as \.npy"),
        ("two.safetensors", "expected one tensor, got 2: a, b"),
        ("none.safetensors", "expected one tensor, got 0: none"),
    ],
)
def test_what_holds_no_conditions_is_refused_in_a_line(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.npy").mkdir()
    for damaged in ("picture.png", "damaged.safetensors", "damaged.npy"):
        (tmp_path / damaged).write_bytes(b"nothing of the kind")
    (tmp_path / "empty.npy").touch()
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "texts.npy", np.array(["a"]))
    save_file({"a": VALUES, "b": VALUES.clone()}, tmp_path / "two.safetensors")
    save_file({}, tmp_path / "none.safetensors")
    with pytest.raises(ConditionFileError, match=message) as refused:
        read_conditions(tmp_path / name)
    assert "\n" not in str(refused.value)
