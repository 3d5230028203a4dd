"""Fusing: what a neuron does place by place becomes one kernel, compiled once for each kind of neuron.

As plain operations, every one of dozens goes through memory on its own, or, on a GPU, is launched on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from inspect import signature
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from ann2snn_diffusion.common.errors import first_line

KINDS = 64
"""Kernels of one function that torch may keep, where it can be told; a network needs 8 to 16, and else it keeps 8."""
Function = TypeVar("Function", bound=Callable[..., object])


class Fuse(Protocol):
    """Makes of a function one that computes the same."""

    def __call__(self, function: Function, /) -> Function:
        """The function to call instead."""
        ...


def unfused(function: Function) -> Function:
    """The function as it is."""
    return function


@cache
def compiled(function: Function) -> Function:
    """The function compiled, for any shapes, without gradients; its first calls take seconds."""
    limit: dict[str, Any] = (
        {"recompile_limit": KINDS} if "recompile_limit" in signature(torch.compile).parameters else {}
    )
    kernel = torch.compile(function, dynamic=True, **limit)

    @wraps(function)
    def call(*arguments: object) -> object:
        # In one layout, or a kernel would be compiled for each.
        return kernel(*(part.detach().contiguous() if isinstance(part, Tensor) else part for part in arguments))

    return call  # pyright: ignore[reportReturnType]


def problem_on(device: torch.device) -> str | None:
    """Why nothing can be compiled for ``device`` here, such as a missing C++ compiler, or Triton; None: it can."""
    try:
        compiled(_twice)(torch.ones(2, device=device))
    except Exception as error:  # compilers' own and those of torch have no class in common
        return first_line(error)
    return None


def _twice(number: Tensor) -> Tensor:
    return 2 * number
