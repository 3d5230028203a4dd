"""The device that a command works on, and the process among those that were launched together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from ann2snn_diffusion.common.specs import SpecError

if TYPE_CHECKING:
    from accelerate import PartialState


def usable_device(device: str, quiet: bool = False) -> str:
    """The device, checked; ``auto`` is cuda, mps or cpu, the first that is usable here, and said unless ``quiet``.

    Raises:
        SpecError: it does not exist here.
    """
    import torch

    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if torch.get_device_module(name).is_available())
        if not quiet:
            typer.echo(f"device: {device}", err=True)
    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, ValueError, ImportError):
        raise SpecError("device", device, "a device that is usable here, such as cpu") from None
    return device


def start_process(device: str, quiet: bool = False) -> tuple[PartialState, str]:
    """This process among those that were launched together, and its device: of several GPUs its own.

    Raises:
        SpecError: the device does not exist here.
    """
    from accelerate import PartialState

    device = usable_device(device, quiet or not _launched_first())
    process = PartialState(cpu=device == "cpu")
    if process.num_processes > 1 and device == "cuda":
        device = usable_device(f"cuda:{process.local_process_index}")
    return process, device


def _launched_first() -> bool:
    """Whether this process is the main one, as launchers tell it before processes know each other."""
    return os.environ.get("RANK", "0") == "0"
