"""Checkpoints of a training: written beside and renamed, so that one cut short never carries a checkpoint's name.

They hold safetensors and JSON alone, and training.json has the hash of every other file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ann2snn_diffusion.common.atomic_output import OutputError
from ann2snn_diffusion.common.errors import A2SError, first_line
from ann2snn_diffusion.training.rollout import Rollout
from ann2snn_diffusion.training.state_file import load_state, save_state

FIELDS = {"run": dict, "files": dict, "step": int, "seconds": int | float}
"""Of training.json."""
ASIDE = "superseded-"
"""Before the name of a checkpoint that a training, resumed from an older one, will write anew."""


class ResumeError(A2SError):
    """A checkpoint that this training cannot go on from."""


def checkpoints(folder: Path) -> list[Path]:
    """All complete checkpoints of a training folder, oldest first."""
    return sorted(folder.glob("checkpoint-??????"))


def find_checkpoint(folder: Path | None, asked: str) -> Path:
    """``latest``, or a checkpoint given by path or by its name in ``folder``.

    Raises:
        ResumeError: there is none.
    """
    found = [] if folder is None else checkpoints(folder)
    if asked == "latest":
        if not found:
            raise ResumeError(f"{folder}: no checkpoint to resume from; start without `resume` or `finish`.")
        return found[-1]
    for place in (Path(asked), (folder or Path()) / asked):
        if (place / "training.json").exists():
            return place
    names = ", ".join(place.name for place in found) or "none"
    raise ResumeError(f"{asked}: no checkpoint; expected latest or a folder; {folder} has {names}.")


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training has come.

    Attributes:
        step: optimiser steps done.
        seconds: that they took, over all runs.
        rollout: images under way in this process; None where a training learns on real images.
    """

    step: int
    seconds: float
    rollout: Rollout | None


def save_checkpoint(
    accelerator: Accelerator, folder: Path, progress: TrainingProgress, parts: Mapping[str, Any],
    identity: Mapping[str, Any], limit: int,
) -> None:  # fmt: skip
    """Everything that an exact resume needs; the ``limit`` newest are kept.

    Args:
        parts: all that has a state, by name: network, optimizer and the like.
        identity: what the training is, JSON-ready; a resume must agree with it.

    Raises:
        OutputError: the disk is full, or not writable.
    """
    partial, step, rollout = folder / ".checkpoint", progress.step, progress.rollout
    done = {"step": step, "seconds": round(progress.seconds, 3)}
    try:
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            save_state(partial / "state.safetensors", done | {name: part.state_dict() for name, part in parts.items()})
        accelerator.wait_for_everyone()
        index = accelerator.process_index
        save_file(_random_states(accelerator.device), partial / f"random-{index}.safetensors")
        if rollout is not None:
            tensors = {name: part for name, part in vars(rollout).items() if part is not None}
            save_file(tensors, partial / f"rollout-{index}.safetensors")
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            content = done | {"run": identity, "files": {file.name: _hash(file) for file in sorted(partial.iterdir())}}
            (partial / "training.json").write_text(json.dumps(content, indent=1) + "\n")
            _put_in_place(partial, folder / f"checkpoint-{step:06d}", limit)
        accelerator.wait_for_everyone()
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(f"{folder}: no checkpoint could be written at step {step}: {first_line(error)}") from error


def load_checkpoint(
    accelerator: Accelerator, checkpoint: Path, parts: Mapping[str, Any], identity: Mapping[str, Any],
    rollout: Rollout | None,
) -> TrainingProgress:  # fmt: skip
    """Restore ``parts``, random numbers, and images under way in place of ``rollout``.

    What a part puts on no device itself is on the CPU then.

    Raises:
        ResumeError: of another training, of an earlier version, or damaged.
    """
    try:
        content = _described(checkpoint, identity)
        index, device = accelerator.process_index, accelerator.device
        state = load_state(checkpoint / "state.safetensors")
        for field in ("step", "seconds"):
            if content[field] != state[field]:
                raise ValueError(f"training.json has {field} = {content[field]!r}, state.safetensors {state[field]!r}")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        if rollout is not None:
            tensors = load_file(checkpoint / f"rollout-{index}.safetensors", str(device))
            rollout = Rollout(**({"class_labels": None} | tensors))  # pyright: ignore[reportArgumentType]
        _restore_random(load_file(checkpoint / f"random-{index}.safetensors"), device)
        return TrainingProgress(state["step"], state["seconds"], rollout)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise ResumeError(f"{checkpoint}: damaged: {first_line(error)}; resume from another.") from error


def _described(checkpoint: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What training.json says, once its fields are what they must be, and the files beside it what it says."""
    content = json.loads((checkpoint / "training.json").read_text())
    for field, kind in FIELDS.items():
        value = content.get(field, {})
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"training.json has {field} = {value!r:.60}")
    different = [name for name in identity if content["run"].get(name) != identity[name]]
    if different:
        name = different[0]
        was, now = content["run"].get(name), identity[name]
        raise ResumeError(f"{checkpoint}: is of another training: {name} was {was!r} and is {now!r}.")
    if "files" not in content:
        raise ResumeError(f"{checkpoint}: an earlier version wrote it, with files that may run code; train anew.")
    for name in {*content["files"], *(file.name for file in checkpoint.glob("*.safetensors"))}:
        if _hash(checkpoint / name) != content["files"].get(name):
            raise ValueError(f"{name} is not what training.json says")
    return content


def set_aside_newer(folder: Path, step: int) -> None:
    """Rename all checkpoints after ``step``: no longer the latest, each is kept until its step is reached again.

    Raises:
        OutputError: they cannot be renamed.
    """
    try:
        for newer in checkpoints(folder):
            if _step(newer) > step:
                shutil.rmtree(folder / f"{ASIDE}{newer.name}", ignore_errors=True)
                newer.rename(folder / f"{ASIDE}{newer.name}")
    except OSError as error:
        raise OutputError(f"{folder}: newer checkpoints cannot be set aside: {first_line(error)}.") from error


def _put_in_place(partial: Path, checkpoint: Path, limit: int) -> None:
    folder = checkpoint.parent
    partial.rename(checkpoint)
    superseded = [old for old in folder.glob(f"{ASIDE}checkpoint-??????") if _step(old) <= _step(checkpoint)]
    for old in [*superseded, *checkpoints(folder)[:-limit]]:
        # Renamed first: half deleted, it must not look like a checkpoint either.
        shutil.rmtree(folder / ".old", ignore_errors=True)
        shutil.rmtree(old.rename(folder / ".old"))


def _step(checkpoint: Path) -> int:
    number = checkpoint.name[-6:]
    return int(number) if number.isdecimal() else 0


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _random_states(device: torch.device) -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state()
    return states


def _restore_random(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[device.type])
