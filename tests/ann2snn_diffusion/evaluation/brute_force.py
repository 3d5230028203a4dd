"""Counting the slow way: a loop over every synapse, with what arrives at its input."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn


def sources_of(layer: nn.Conv2d, height: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Channel, row and column of the input of every synapse of a convolution; those in the padding left out."""
    (kernel_h, kernel_w), (stride_h, stride_w) = layer.kernel_size, layer.stride
    (pad_h, pad_w), (dilation_h, dilation_w) = layer.padding, layer.dilation  # pyright: ignore
    rows = (height + 2 * int(pad_h) - dilation_h * (kernel_h - 1) - 1) // stride_h + 1
    columns = (width + 2 * int(pad_w) - dilation_w * (kernel_w - 1) - 1) // stride_w + 1
    group, out_group = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    for out, row, column in product(range(layer.out_channels), range(rows), range(columns)):
        first = out // out_group * group
        for channel, tap_h, tap_w in product(range(group), range(kernel_h), range(kernel_w)):
            y = row * stride_h - int(pad_h) + tap_h * dilation_h
            x = column * stride_w - int(pad_w) + tap_w * dilation_w
            if 0 <= y < height and 0 <= x < width:
                yield first + channel, y, x


def arriving_at(layer: nn.Conv2d | nn.Linear, counts: Tensor) -> int:
    """Σ over all synapses of what arrives at their input, [C, H, W] or [L, C] whole numbers."""
    values: Any = counts.long().tolist()
    if isinstance(layer, nn.Linear):
        return sum(value for token in values for value in token for _ in range(layer.out_features))
    height, width = counts.shape[-2:]
    return sum(values[channel][y][x] for channel, y, x in sources_of(layer, height, width))


def arriving_at_product(counts: Tensor) -> int:
    """Σ over all pairs of a token with a key or value token, head and channel, of what arrives from the latter."""
    values: Any = counts.long().tolist()
    return sum(value for _ in range(len(values)) for token in values for value in token)


def doubled_in_size(counts: Tensor) -> Tensor:
    """Nearest neighbours, [C, H, W] → [C, 2H, 2W], pixel by pixel."""
    channels, height, width = counts.shape
    larger = torch.zeros(channels, 2 * height, 2 * width)
    for channel, y, x in product(range(channels), range(2 * height), range(2 * width)):
        larger[channel, y, x] = counts[channel, y // 2, x // 2]
    return larger
