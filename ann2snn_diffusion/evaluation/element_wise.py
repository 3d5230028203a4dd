"""Work that is done value by value, between synapses: equal in ANN and SNN, and what neurons need beside it.

Of the ANN, for each value:

    group norm        Σx, Σx², a·x + b                         2 MACs, 1 AC
    activation        x·σ(x), σ a table with interpolation     2 MACs
    softmax           maximum, exponential (a table), Σ, ÷     2 MACs, 2 ACs a score
    residual sums     of blocks, and of the time embedding     1 AC

An SNN does the same, at every tick in the synchronous schedule, and for its neurons:

    charge            (x − offset) / unit                      1 MAC, at every tick; leaky: 2
    membrane update   compare with the condition               1 AC, at every firing step
    reset             v − W·s                                  1 AC a spike
    offset's map      of each output of a synapse, like a bias 1 AC, at every tick
                      of attention products: q·unit, q·offset  2 MACs a value of k or v, at every tick

Biases cost nothing on either side: they are where accumulation starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from diffusers.models import activations
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

OPERATIONS = {"norms": (2, 1), "activations": (2, 0), "softmax": (2, 2), "residual sums": (0, 1)}
"""MACs and ACs for each value."""
ACTIVATIONS = tuple({type(activations.get_activation(name)) for name in activations.ACT2CLS})


@dataclass(frozen=True)
class ElementWise:
    """Work of one kind in one forward pass of one image through the ANN."""

    kind: str
    values: int
    multiply_accumulates: int
    accumulates: int


def work_of(values: Mapping[str, int]) -> tuple[ElementWise, ...]:
    """The work behind so many values of each kind."""
    return tuple(
        ElementWise(kind, values.get(kind, 0), values.get(kind, 0) * macs, values.get(kind, 0) * acs)
        for kind, (macs, acs) in OPERATIONS.items()
    )


def element_wise_visits(network: nn.Module, values: dict[str, int]) -> list[Any]:
    """Visitors that add to ``values``, by kind, in a forward pass of one image."""

    def add(kind: str, times: int, _value: Tensor, output: Tensor) -> None:
        values[kind] = values.get(kind, 0) + times * output.numel()

    def attended(attention: Attention, _value: Tensor, output: Tensor) -> None:
        scores = attention.heads * (output.shape[-2] * output.shape[-1]) ** 2
        values["softmax"] = values.get("softmax", 0) + scores
        if attention.residual_connection:
            values["residual sums"] = values.get("residual sums", 0) + output.numel()

    visits: list[Any] = []
    for module in network.modules():
        if isinstance(module, nn.GroupNorm):
            visits.append((module, partial(add, "norms", 1)))
        elif isinstance(module, ACTIVATIONS):
            visits.append((module, partial(add, "activations", 1)))
        elif isinstance(module, ResnetBlock2D):
            visits.append((module, partial(add, "residual sums", 1 if module.time_emb_proj is None else 2)))
        elif isinstance(module, Attention):
            visits.append((module, partial(attended, module)))
    return visits
