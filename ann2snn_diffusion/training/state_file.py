"""Nested states of tensors and numbers in one safetensors file: nothing that is read from it can run.

Tensors stand under numbers; the structure around them is JSON in the file's metadata, a pair of kind and content each.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

STRUCTURE = "structure"


def save_state(file: Path, state: Any) -> None:
    """Write dicts, lists and tuples of tensors, numbers, texts and None.

    Raises:
        TypeError: anything else.
        OSError, SafetensorError: it cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_packed(state, tensors))
    save_file(tensors, file, {STRUCTURE: structure})


def load_state(file: Path) -> Any:
    """What `save_state` wrote, to the bit, on the CPU.

    Raises:
        OSError, SafetensorError: missing or damaged.
        ValueError, KeyError, TypeError: no such file.
    """
    with safe_open(file, "pt") as content:
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        return _unpacked(json.loads((content.metadata() or {})[STRUCTURE]), tensors)


def _packed(state: Any, tensors: dict[str, Tensor]) -> list[Any]:
    if isinstance(state, Tensor):
        name = str(len(tensors))
        # A copy of its own: tensors that share memory cannot be saved.
        tensors[name] = state.detach().clone(memory_format=torch.contiguous_format)
        return ["tensor", name]
    if isinstance(state, dict):
        return ["dict", [[key, _packed(part, tensors)] for key, part in state.items()]]
    if isinstance(state, list | tuple):
        return [type(state).__name__, [_packed(part, tensors) for part in state]]
    if state is None or isinstance(state, bool | int | float | str):
        return ["value", state]
    raise TypeError(f"a {type(state).__name__} cannot be saved")


def _unpacked(structure: Any, tensors: dict[str, Tensor]) -> Any:
    kind, content = structure
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpacked(part, tensors) for key, part in content}
    if kind in ("list", "tuple"):
        parts = [_unpacked(part, tensors) for part in content]
        return parts if kind == "list" else tuple(parts)
    if kind == "value":
        return content
    raise ValueError(f"{kind!r} is no kind of state")
