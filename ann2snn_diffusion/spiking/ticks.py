"""How a tensor carries time in the synchronous schedule: as running means, so that the analog steps are the ANN's own.

Of slices x_1 … x_T, whose mean is the value, a tensor holds m_t = mean(x_1 … x_t), folded into the batch [T·B, …]; the
last is the value. Synapses are linear, and may act on means instead of slices. A non-linear step N acts on the running
mean: its slices t·N(m_t) − (t−1)·N(m_{t−1}) average to exactly N of the value (ECMT, arXiv 2408.00970), and as running
means they are N(m_t). Only a neuron, whose membrane slices charge, tells ticks apart.

Ticks come and go one by one, not as one tensor: what is computed of them can then be one kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def running_means(slices: Sequence[Tensor] | Tensor) -> list[Tensor]:
    """m_t = m_{t−1} + (x_t − m_{t−1}) / t, of T slices."""
    means = [slices[0]]
    for tick, arriving in enumerate(slices[1:], start=2):
        means.append(torch.lerp(means[-1], arriving, 1 / tick))
    return means


def arrivals(means: Sequence[Tensor] | Tensor) -> list[Tensor]:
    """The slices x_t = m_{t−1} + t·(m_t − m_{t−1}) behind T running means."""
    later = [torch.lerp(before, mean, tick) for tick, (before, mean) in enumerate(pairwise(means), start=2)]
    return [means[0], *later]


def increments(charges: Sequence[Tensor] | Tensor) -> list[Tensor]:
    """I_t = x_t / T, what charges a membrane at each tick, of T running means: a slice carries T times its share."""
    return [arriving / len(charges) for arriving in arrivals(charges)]


def by_slices(by_means: Sequence[Tensor] | Tensor) -> list[Tensor]:
    """dL/dx_t = Σ_{s≥t} dL/dm_s / s."""
    gradients: list[Tensor] = []
    for tick in range(len(by_means), 0, -1):
        own = by_means[tick - 1] / tick
        gradients.append(own + gradients[-1] if gradients else own)
    return gradients[::-1]


def by_means(by_arrivals: Sequence[Tensor]) -> list[Tensor]:
    """dL/dm_t = t·(dL/dx_t − dL/dx_{t+1})."""
    differences = [*(one - following for one, following in pairwise(by_arrivals)), by_arrivals[-1]]
    return [tick * difference for tick, difference in enumerate(differences, start=1)]


def value_of(means: Tensor, count: int) -> Tensor:
    """The value of ``count`` rows whose running means are folded into the batch: the last tick's, [S·B, …] → [B, …]."""
    return means[-count:]
