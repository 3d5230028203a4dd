"""The forward pass under way: one immutable value, which neurons and layers ask for, and only its own thread sees.

Blocks of diffusers hand on activations and no more; noise levels, ticks and the noisy image reach a layer from here.
`running` sets the value and restores what was before, after an error too. Where gradient checkpointing computes a block
once more, in its backward pass, the block runs within the value of its own pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch.utils.checkpoint
from torch import Tensor, nn

MANY = 1 << 18
"""Values whose spikes a fused pass does not keep: fewer cost less memory than time."""
Measure = Callable[[Any, Tensor], Tensor]
"""Of a neuron and the value [S·B, …] that charges it, whatever is to be known, with gradients."""


@dataclass(frozen=True)
class Listener:
    """Measures what charges each neuron that a forward pass goes through."""

    measure: Measure
    measured: dict[nn.Module, Tensor] = field(default_factory=dict)
    """By neuron, in the order of execution, of the last pass."""

    def hear(self, neuron: nn.Module, value: Tensor) -> None:
        """Measure ``value``, which charges ``neuron``."""
        self.measured[neuron] = self.measure(neuron, value)


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """What all layers know of one forward pass."""

    segment: Tensor | None = None
    """Noise segment of each batch row, int64 [S·B], or [1] where all rows are in one; None: the network has but one."""
    ticks: int = 1
    """Ticks folded into the batch, [S·B, …] with S = T in the synchronous schedule, else 1; see `ticks`."""
    image: Tensor | None = None
    """The noisy image x_t, [S·B, C, H, W]."""
    analog: bool = False
    """Neurons pass their input through: the network is the ANN."""
    listener: Listener | None = None
    """Is told what charges each neuron."""
    fused: bool = False
    """Neurons are one compiled kernel each, and run again in backward: what they hand on is not kept."""

    def again(self) -> ForwardPass:
        """The same pass, computed once more for gradients: what its listener measures then, nobody reads."""
        return self if self.listener is None else replace(self, listener=Listener(self.listener.measure))


class Mode(threading.local):
    """How a network's next passes run, for each thread that calls it.

    Replicas of a network, whose attributes are the same objects, share its mode; a deep copy has one of its own.

    Attributes:
        analog, listener, fused: as in `ForwardPass`.
    """

    def __init__(self) -> None:
        self.analog = False
        self.listener: Listener | None = None
        self.fused = False

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Neurons pass their input through, inside the ``with`` block."""
        before, self.analog = self.analog, True
        try:
            yield
        finally:
            self.analog = before

    def __reduce__(self) -> tuple[type[Mode], tuple[()]]:
        return Mode, ()


class _Thread(threading.local):
    # Not contextvars: torch.compile does not trace setting one.
    def __init__(self) -> None:
        self.forward_pass = ForwardPass()


_thread = _Thread()


def current() -> ForwardPass:
    """The forward pass under way in this thread; outside of any, one without segments, ticks and image."""
    return _thread.forward_pass


@contextmanager
def running(forward_pass: ForwardPass) -> Iterator[None]:
    """Make ``forward_pass`` the current one of this thread, inside the ``with`` block."""
    before = _thread.forward_pass
    _thread.forward_pass = forward_pass
    try:
        yield
    finally:
        _thread.forward_pass = before


def checkpoint(module: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    """``module(*inputs)`` by torch's gradient checkpointing, computed again in backward within this call's pass."""
    again = current().again()
    return torch.utils.checkpoint.checkpoint(
        module, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), running(again)), **options
    )


def accumulated(synapse: Callable[[Tensor], Tensor], neuron: nn.Module, value: Tensor) -> Tensor:
    """``synapse(neuron(value))``; in a fused pass backward computes many spikes once more, up to the synapse."""
    if not (current().fused and torch.is_grad_enabled() and value.numel() >= MANY):
        return synapse(neuron(value))
    return checkpoint(lambda value: synapse(neuron(value)), value, preserve_rng_state=False, determinism_check="none")
