"""Fusing: what a neuron does place by place becomes one kernel, compiled once for each kind of neuron.

As plain operations, every one of dozens goes through memory on its own, or, on a GPU, is launched on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache, wraps
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from ann2snn_diffusion.common.errors import first_line

KINDS = 64
"""More than a network has whose neurons are of all kinds."""
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
    kernel = torch.compile(function, dynamic=True)

    @wraps(function)
    def call(*arguments: object) -> object:
        # In one layout, or a kernel would be compiled for each.
        return kernel(*(part.detach().contiguous() if isinstance(part, Tensor) else part for part in arguments))

    return call  # pyright: ignore[reportReturnType]


def many_kinds() -> AbstractContextManager[object]:
    """Let torch compile a function for many kinds of arguments, not for eight alone, inside the ``with`` block.

    Kinds of neurons: signed or not, doubled or not, guided or not, of one noise segment or of many.
    """
    from torch._dynamo import config  # takes a second

    return config.patch(recompile_limit=KINDS)


def problem_on(device: torch.device) -> str | None:
    """Why nothing can be compiled for ``device`` here, such as a missing C++ compiler, or Triton; None: it can."""
    try:
        compiled(_twice)(torch.ones(2, device=device))
    except Exception as error:  # compilers' own and those of torch have no class in common
        return first_line(error)
    return None


def _twice(number: Tensor) -> Tensor:
    return 2 * number
