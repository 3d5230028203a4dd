"""Weights as they lie in a folder: whole or in shards, safetensors or pickled, of a variant, with keys of any age."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import UNet2DModel
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ann2snn_diffusion.common.errors import first_line
from ann2snn_diffusion.models.folders import read_json
from ann2snn_diffusion.spiking.unet import SourceError

STEM = SAFETENSORS_WEIGHTS_NAME.removesuffix(".safetensors")
VARIANT_FILE = re.compile(rf"{STEM}\.(\w+?)(?:-\d+-of-\d+)?\.(?:safetensors|bin)")
OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Of attention, before diffusers 0.15."""
FAULTS = (OSError, ValueError, RuntimeError, SafetensorError, TypeError, KeyError, EOFError, UnpicklingError)


def load_unet(folder: Path, variant: str | None = None) -> tuple[UNet2DModel, str]:
    """A UNet2DModel in float32 on the CPU, ready to be evaluated, and its variant; "" for the usual weights.

    Args:
        variant: such as ``fp16``; None: the usual weights, or where none lie there, the variant that does.

    Raises:
        SourceError: weights missing, corrupt, not floating-point, not finite, or not those of the config's network.
    """
    files, found = _files(folder, variant)
    try:
        with init_empty_weights():
            unet: Any = UNet2DModel.from_config(read_json(folder / "config.json"))
        state = {_today(name): tensor for file in files for name, tensor in _read(file).items()}
        expected = unet.state_dict()
        missing = [name for name in expected if name not in state]
        state = {name: tensor for name, tensor in state.items() if name in expected}
        _refuse_whole_numbers(state, folder)
        mismatched = [name for name, tensor in state.items() if tensor.shape != expected[name].shape]
        if not missing and not mismatched:
            # A copy: tensors of a file are views of it.
            state = {name: tensor.to(torch.float32, copy=True) for name, tensor in state.items()}
            unet.load_state_dict(state, assign=True)
    except FAULTS as error:
        raise SourceError(f"{folder}: the weights could not be loaded: {first_line(error)}") from error
    for problem, names in {"missing": missing, "mismatched": mismatched}.items():
        if names:
            raise SourceError(f"{folder}: {problem} keys in the weights: {names[0]} …")
    refuse_not_finite(unet, folder)
    return unet.float().eval(), found


def refuse_whole_numbers(folder: Path) -> None:
    """Check the types of all weights that lie in ``folder``, which loading would convert without a word.

    Raises:
        SourceError: names a tensor that is not of floating-point numbers.
    """
    for file in _files(folder, None)[0]:
        _refuse_whole_numbers(_read(file), folder)


def refuse_not_finite(unet: UNet2DModel, folder: Path) -> None:
    """Check all parameters of a network from ``folder``.

    Raises:
        SourceError: one is not finite.
    """
    for name, parameter in unet.named_parameters():
        if not torch.isfinite(parameter).all():
            raise SourceError(f"{folder}: {name} holds values that are not finite.")


def _files(folder: Path, variant: str | None) -> tuple[list[Path], str]:
    there = sorted({found[1] for file in folder.glob(f"{STEM}.*") if (found := VARIANT_FILE.fullmatch(file.name))})
    for wanted in ("", *there) if variant is None else (variant,):
        dotted = f".{wanted}" if wanted else ""
        for kind in ("safetensors", "bin"):
            whole, index = folder / f"{STEM}{dotted}.{kind}", folder / f"{STEM}.{kind}.index{dotted}.json"
            if whole.exists():
                return [whole], wanted
            if index.exists():
                shards: dict[str, str] = read_json(index).get("weight_map", {})
                return [folder / name for name in sorted(set(shards.values()))], wanted
    named = f" of variant {variant}" if variant else ""
    others = f"; there are {', '.join(there)}" if there else ""
    raise SourceError(
        f"{folder}: the weights could not be loaded: no {STEM}{named}, as safetensors or bin, lies there{others}."
    )


def _refuse_whole_numbers(state: Mapping[str, Tensor], folder: Path) -> None:
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise SourceError(f"{folder}: {name} is of type {kind} in the weights; expected floating-point numbers.")


def _read(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        return load_file(file)
    with warnings.catch_warnings():  # about what it is going to refuse
        warnings.simplefilter("ignore")
        return torch.load(file, "cpu", weights_only=True)


def _today(name: str) -> str:
    """A parameter's name in today's diffusers."""
    return re.sub(r"\.(query|key|value|proj_attn)\.(weight|bias)$", lambda old: f".{OLD_NAMES[old[1]]}.{old[2]}", name)
