"""Whatever became of a safetensors file: its tensors are what they were, or it is refused in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ann2snn_diffusion.models.loading import load_converted, load_source
from tests.ann2snn_diffusion.cli.saved_models import save_models
from tests.mutations import loaded

HEADER = 200
"""Bytes of the length and of the first tensors' names, types, shapes and places."""
KINDS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.int64, torch.bool]
LOAD: dict[str, Callable[[Path], Any]] = {
    "ddpm": lambda folder: load_source(str(folder)).unet,
    "snn": lambda folder: load_converted(folder).unet,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted model ``snn`` and its ANN ``ddpm``."""
    return save_models(tmp_path_factory.mktemp("models"))


def look(folder: Path, name: str, content: bytes, expected: dict[str, torch.Tensor] | None = None) -> str:
    """The line that refuses weights; "" where they are as ``expected``, or as they were."""
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    before = file.read_bytes()
    meant = LOAD[name](folder).state_dict() if expected is None else expected
    file.write_bytes(content)
    try:
        found, line = loaded(lambda: LOAD[name](folder))
    finally:
        file.write_bytes(before)
    if line:
        assert "\n" not in line
        assert str(folder) in line
        return line
    assert all(torch.equal(tensor.float(), meant[part].float()) for part, tensor in found.state_dict().items())
    return ""


def content_of(models: Path, name: str) -> bytes:
    return (models / name / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()


@pytest.mark.parametrize("name", LOAD)
@settings(max_examples=12)
@given(data=st.data())
def test_a_truncated_file_is_refused(models: Path, name: str, data: st.DataObject) -> None:
    whole = content_of(models, name)
    cut = data.draw(st.one_of(st.integers(0, HEADER), st.integers(0, len(whole) - 1)))
    assert "could not be loaded" in look(models / name, name, whole[:cut])


@pytest.mark.parametrize("name", LOAD)
@settings(max_examples=12)
@given(place=st.integers(0, HEADER - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_header_changes_nothing_or_is_refused(
    models: Path, name: str, place: int, bit: int
) -> None:
    flipped = bytearray(content_of(models, name))
    flipped[place] ^= 1 << bit
    look(models / name, name, bytes(flipped))


@pytest.mark.parametrize("name", ["ddpm"])
@settings(max_examples=12)
@given(data=st.data())
def test_a_tensor_of_another_shape_or_type_is_refused_by_name_or_the_same(
    models: Path, name: str, data: st.DataObject
) -> None:
    file = models / name / "unet" / "diffusion_pytorch_model.safetensors"
    tensors, other = load_file(file), models / "other.safetensors"
    tensor = data.draw(st.sampled_from(sorted(tensors)))
    before = tensors[tensor]
    shape = data.draw(st.sampled_from([None, (), (0,), (1,), (*before.shape, 1), before.shape[::-1]]))
    kind = data.draw(st.sampled_from(KINDS))
    tensors[tensor] = (before if shape is None else torch.ones(shape)).to(kind)
    save_file(tensors, other, {"format": "pt"})
    expected = LOAD[name](models / name).state_dict() | {tensor: tensors[tensor].float()}
    line = look(models / name, name, other.read_bytes(), expected)
    if tensors[tensor].shape != before.shape or not kind.is_floating_point:
        assert tensor in line or "could not be loaded" in line
