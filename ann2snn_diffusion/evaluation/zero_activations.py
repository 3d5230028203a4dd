"""What the same ANN would do in int8, skipping zeros: the peer that a reviewer asks for first.

Of each state and layer the largest magnitude is 127 steps, and what rounds to 0 is skipped:

    skipped:  |x| ≤ max|x| / 254

Of a softmax's scores nothing is skipped: no layer hands them on.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ann2snn_diffusion.evaluation.fan_out import weighted_count
from ann2snn_diffusion.evaluation.network_layout import NetworkLayout

STEPS = 127


def left_by_int8(activations: Tensor) -> Tensor:
    """Which activations [B, …] symmetric int8, one scale a row, does not round to 0."""
    largest = activations.abs().flatten(1).amax(1).view(-1, *[1] * (activations.ndim - 1))
    return 2 * STEPS * activations.abs() > largest


class ZeroCounter:
    """Counts, in analog passes, the multiply-accumulates of each synapse of the ANN that are not by zero."""

    def __init__(self, layout: NetworkLayout) -> None:
        self.layout = layout
        self.left: dict[str, list[Tensor]] = defaultdict(list)

    def visits(self, network: nn.Module) -> list[Any]:
        """Visitors for a pass of the ANN behind ``network``."""
        return [
            (network.get_submodule(synapse.seen[0]), partial(self._count, synapse.name, synapse.seen[1]))
            for synapse in self.layout.synapses
            if synapse.seen is not None
        ]

    def effective(self) -> dict[str, Tensor]:
        """Multiply-accumulates left, by synapse, of each state, [N], float64."""
        return {name: torch.cat(parts) for name, parts in self.left.items()}

    def _count(self, name: str, reached: Tensor, value: Tensor, _output: Tensor) -> None:
        self.left[name].append(weighted_count(left_by_int8(value), reached))
