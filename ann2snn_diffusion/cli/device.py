"""The device that a command works on, and the process among those that were launched together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ann2snn_diffusion.common.specs import SpecError

if TYPE_CHECKING:
    from accelerate import PartialState


def usable_device(device: str) -> None:
    """Check that a device exists here.

    Raises:
        SpecError: it does not.
    """
    import torch

    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError):
        raise SpecError("device", device, "a device that is usable here, such as cpu") from None


def start_process(device: str) -> tuple[PartialState, str]:
    """This process among those that were launched together, and its device: of several GPUs its own.

    Raises:
        SpecError: the device does not exist here.
    """
    from accelerate import PartialState

    process = PartialState(cpu=device == "cpu")
    if process.num_processes > 1 and device == "cuda":
        device = f"cuda:{process.local_process_index}"
    usable_device(device)
    return process, device
