"""How a tensor carries time in the synchronous schedule: as running means, so that the analog steps are the ANN's own.

Of slices x_1 … x_T, whose mean is the value, a tensor holds m_t = mean(x_1 … x_t), folded into the batch [T·B, …]; the
last is the value. Synapses are linear, and may act on means instead of slices. A non-linear step N acts on the running
mean: its slices t·N(m_t) − (t−1)·N(m_{t−1}) average to exactly N of the value (ECMT, arXiv 2408.00970), and as running
means they are N(m_t). Only a neuron, whose membrane slices charge, tells ticks apart.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor


def running_means(slices: Tensor) -> Tensor:
    """m_t = m_{t−1} + (x_t − m_{t−1}) / t, [T, …] → [T, …]."""
    means = [slices[0]]
    for tick, arriving in enumerate(slices[1:], start=2):
        means.append(torch.lerp(means[-1], arriving, 1 / tick))
    return torch.stack(means)


def arrivals(means: Tensor) -> Tensor:
    """The slices x_t = m_{t−1} + t·(m_t − m_{t−1}) behind running means, [T, …] → [T, …]."""
    later = [torch.lerp(before, mean, tick) for tick, (before, mean) in enumerate(pairwise(means), start=2)]
    return torch.stack([means[0], *later])


def value_of(means: Tensor, count: int) -> Tensor:
    """The value of ``count`` rows whose running means are folded into the batch: the last tick's, [S·B, …] → [B, …]."""
    return means[-count:]
