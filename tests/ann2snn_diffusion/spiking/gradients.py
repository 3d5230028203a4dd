"""Neurons in float64, and whether gradients are those of a reference."""

from typing import Any

import torch
from torch import Tensor


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def inputs(*leading: int) -> tuple[Tensor, Tensor, Tensor]:
    value = 4 * draw(*leading, 6, 3, 5, 5, seed=2)
    unit, offset = 0.2 + draw(6, 3, 1, 1, seed=3).abs(), draw(1, 3, 1, 1, seed=4)
    return value.requires_grad_(), unit.requires_grad_(), offset.requires_grad_()


def assert_same_gradients(ours: Tensor, reference: Tensor, parameters: tuple[Tensor, ...]) -> None:
    torch.testing.assert_close(ours, reference)
    cotangent = draw(*ours.shape, seed=5)
    found = [torch.autograd.grad(output, parameters, cotangent) for output in (ours, reference)]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def kept_for_backward(function: Any, *arguments: Any) -> int:
    """How many numbers a function of autograd keeps."""
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function.apply(*arguments)
    return sum(kept)
