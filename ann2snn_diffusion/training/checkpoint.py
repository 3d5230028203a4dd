"""Checkpoints of a training: written beside and renamed, so that one cut short never carries a checkpoint's name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ann2snn_diffusion.common.atomic_output import OutputError
from ann2snn_diffusion.common.errors import A2SError, first_line
from ann2snn_diffusion.training.rollout import Rollout


class ResumeError(A2SError):
    """A checkpoint that this training cannot go on from."""


def checkpoints(folder: Path) -> list[Path]:
    """All complete checkpoints of a training folder, oldest first."""
    return sorted(folder.glob("checkpoint-??????"))


def find_checkpoint(folder: Path | None, resume: str) -> Path:
    """``latest``, or a checkpoint given by path or by its name in ``folder``.

    Raises:
        ResumeError: there is none.
    """
    found = [] if folder is None else checkpoints(folder)
    if resume == "latest":
        if not found:
            raise ResumeError(f"{folder}: no checkpoint to resume from; start without `resume`.")
        return found[-1]
    for place in (Path(resume), (folder or Path()) / resume):
        if (place / "training.json").exists():
            return place
    names = ", ".join(place.name for place in found) or "none"
    raise ResumeError(f"{resume}: no checkpoint; expected latest or a folder; {folder} has {names}.")


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
    accelerator: Accelerator, folder: Path, progress: TrainingProgress, identity: Mapping[str, Any], limit: int
) -> None:
    """Everything that an exact resume needs; the ``limit`` newest are kept.

    Args:
        identity: what the training is, JSON-ready; a resume must agree with it.

    Raises:
        OutputError: the disk is full, or not writable.
    """
    partial, step, rollout = folder / ".checkpoint", progress.step, progress.rollout
    content = {"step": step, "seconds": round(progress.seconds, 3), "run": identity}
    try:
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial))
        if rollout is not None:
            tensors = {name: part for name, part in vars(rollout).items() if part is not None}
            save_file(tensors, partial / f"rollout-{accelerator.process_index}.safetensors")
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (partial / "training.json").write_text(json.dumps(content, indent=1) + "\n")
            partial.rename(folder / f"checkpoint-{step:06d}")
            for old in checkpoints(folder)[:-limit]:
                # Renamed first: half deleted, it must not look like a checkpoint either.
                shutil.rmtree(folder / ".old", ignore_errors=True)
                shutil.rmtree(old.rename(folder / ".old"))
        accelerator.wait_for_everyone()
    except (OSError, RuntimeError, SafetensorError) as error:
        raise OutputError(f"{folder}: no checkpoint could be written at step {step}: {first_line(error)}") from error


def load_checkpoint(
    accelerator: Accelerator, checkpoint: Path, identity: Mapping[str, Any], rollout: Rollout | None
) -> TrainingProgress:
    """Restore what was registered with ``accelerator``, and images under way in place of ``rollout``.

    Raises:
        ResumeError: of another training, or damaged.
    """
    try:
        content = json.loads((checkpoint / "training.json").read_text())
        different = [name for name in identity if content["run"].get(name) != identity[name]]
        if different:
            name = different[0]
            was, now = content["run"].get(name), identity[name]
            raise ResumeError(f"{checkpoint}: is of another training: {name} was {was!r} and is {now!r}.")
        accelerator.load_state(str(checkpoint))
        if rollout is not None:
            tensors = load_file(
                checkpoint / f"rollout-{accelerator.process_index}.safetensors", str(rollout.states.device)
            )
            rollout = Rollout(**({"class_labels": None} | tensors))  # pyright: ignore[reportArgumentType]
        return TrainingProgress(int(content["step"]), float(content.get("seconds", 0)), rollout)
    except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, SafetensorError) as error:
        raise ResumeError(f"{checkpoint}: damaged: {first_line(error)}; resume from another.") from error
