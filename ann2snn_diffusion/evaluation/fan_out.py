"""How many synapses a spike really reaches: borders, stride, padding, dilation, groups and upsampling counted in."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def fan_out(layer: nn.Conv2d | nn.Linear, shape: torch.Size) -> Tensor:
    """Synapses that a spike at each place of an input, [B, C, H, W] or [B, …, C], reaches:

        fan_out = ∂(Σ outputs) / ∂ input    with all weights 1

    float64, [1, C, H, W] or [1, …, C], 1 wide where all places have the same.
    """
    if isinstance(layer, nn.Linear):
        return torch.full([1] * len(shape), layer.out_features, dtype=torch.float64)
    # All channels reach as many synapses, so one is enough.
    taps = nn.Conv2d(
        1, 1, layer.kernel_size, layer.stride, layer.padding, layer.dilation,  # pyright: ignore[reportArgumentType]
        bias=False, padding_mode=layer.padding_mode, dtype=torch.float64,
    )  # fmt: skip
    nn.init.ones_(taps.weight)
    with torch.enable_grad():
        places = torch.ones(1, 1, *shape[-2:], dtype=torch.float64, requires_grad=True)
        (reached,) = torch.autograd.grad(taps(places).sum(), places)
    return reached * (layer.out_channels // layer.groups)


def fan_out_before(received: Tensor, emitted: Tensor, reached: Tensor) -> Tensor | None:
    """Synapses that a spike of ``emitted`` reaches, where ``received``, copies of it, has a fan-out of ``reached``.

    Between the two lie copies and views alone, such as upsampling and reshaping: a spike's copies are counted by the
    gradient. None where ``received`` does not depend on ``emitted``.
    """
    if not received.requires_grad:
        return None
    seed = reached.to(received).expand_as(received)
    (copies,) = torch.autograd.grad(received, emitted, seed, allow_unused=True, retain_graph=True)
    return None if copies is None else narrowed(copies.double().cpu())


def narrowed(reached: Tensor) -> Tensor:
    """The same, 1 wide in every dimension along which it does not change."""
    for dim in range(reached.ndim):
        first = reached.narrow(dim, 0, 1)
        if torch.equal(reached, first.expand_as(reached)):
            reached = first
    return reached


def weighted_count(counts: Tensor, reached: Tensor) -> Tensor:
    """Σ counts · fan-out of each row, [B, …] and [1, …] → [B], float64: exact for whole numbers up to 2^53."""
    alike = [dim for dim in range(1, counts.ndim) if reached.shape[dim] == 1]
    if alike:
        # One dimension in single precision, which holds its sums: in double it takes 15 times as long on a CPU.
        counts = counts.sum(alike[0], keepdim=True, dtype=torch.float32)
    summed = counts.double().sum(alike[1:], keepdim=True) if alike[1:] else counts.double()
    return (summed * reached.to(summed)).flatten(1).sum(1).cpu()
