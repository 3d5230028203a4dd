"""Whether a program gives what its network gives: to rounding, which a spiking network amplifies.

Sums in another order differ in their last digits; where a charge lies that near to a firing condition, a neuron hands
on another level, and all that comes after it moves a little. So a program that computes the same is the same but for a
level here and there, as a network is that takes its images one by one instead of together:

    error = Σ(program − network)² / Σ network²,    of every state

In most states hardly a level differs, in a few one that matters: the median over states tells a wrong program from a
right one, and the worst state that none of them is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCE = 1e-4
"""Of the median error."""
WORST = 0.05
"""Of any state's error."""


@dataclass(frozen=True)
class Agreement:
    """Errors of a program on N states, each [N].

    Attributes:
        by_batch: relative to the network's prediction, where as many states as the key says pass together.
        own: what the network's own predictions differ by, one by one from together.
    """

    by_batch: Mapping[int, Tensor]
    own: Tensor

    @property
    def allowed(self) -> float:
        """The highest median error of a program that computes the same."""
        return max(TOLERANCE, 10 * self.own.median().item())

    @property
    def holds(self) -> bool:
        """Whether the program gives what the network gives."""
        worst = max(WORST, 10 * self.own.max().item())
        return all(
            bool(errors.median() <= self.allowed) and bool(errors.max() <= worst) for errors in self.by_batch.values()
        )

    def in_words(self) -> str:
        """Median and highest error by batch size."""
        told = [
            f"{errors.median():.1e} at batch {size} (at most {errors.max():.1e})"
            for size, errors in self.by_batch.items()
        ]
        return f"relative error {', '.join(told)}"


def relative_errors(found: Tensor, expected: Tensor) -> Tensor:
    """Σ(found − expected)² / Σ expected² of each of N states, [N, …] → [N]."""
    off, power = ((part.double() ** 2).flatten(1).sum(1) for part in (found - expected, expected))
    return off / power.clamp(min=torch.finfo(torch.float32).tiny)
