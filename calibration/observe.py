"""Watch, and replace, what passes a set of sites during a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from calibration.rate_distortion import Sample

Before = Callable[[Tensor], None]
"""Called with a site's input before it runs."""
After = Callable[[Tensor, Any], Any]
"""Called with a site's input and output; what it returns, unless None, becomes the output."""


@contextmanager
def visiting(
    before: Iterable[tuple[nn.Module, Before]] = (), after: Iterable[tuple[nn.Module, After]] = ()
) -> Iterator[None]:
    """Call the visitors whenever a forward pass goes through their site, inside the ``with`` block.

    A site's input is the first argument that it is called with, by position or by name.
    """

    def pre_hook(visit: Before) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        return lambda _module, inputs, named: visit(_first(inputs, named))

    def hook(visit: After) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], Any]:
        return lambda _module, inputs, named, output: visit(_first(inputs, named), output)

    with ExitStack() as stack:
        for module, visit in before:
            stack.callback(module.register_forward_pre_hook(pre_hook(visit), with_kwargs=True).remove)
        for module, visit in after:
            stack.callback(module.register_forward_hook(hook(visit), with_kwargs=True).remove)
        yield


def _first(inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return inputs[0] if inputs else next(iter(named.values()))


def draw_rows(activations: Tensor, dim: int, count: int, generator: torch.Generator) -> Tensor:
    """At most ``count`` positions drawn with replacement, [N, C], from activations whose channels lie in ``dim``."""
    rows = activations.movedim(dim, -1)
    places = rows.shape[:-1]
    if places.numel() <= count:
        return rows.flatten(0, -2)
    drawn = torch.randint(places.numel(), (count,), generator=generator).to(rows.device)
    return rows[torch.unravel_index(drawn, places)]


def sample_of(values: Tensor, dim: int, count: int, generator: torch.Generator) -> Sample:
    """At most ``count`` positions of values whose channels lie in ``dim``, and the range of all; one segment."""
    rows = draw_rows(values, dim, count, generator)
    others = [axis for axis in range(values.ndim) if axis != dim % values.ndim]
    return Sample(rows[None], values.amin(others)[None], values.amax(others)[None])


def stacked(segments: list[Sample]) -> Sample:
    """Samples of one segment each as one of all; where one has fewer rows than another, some of them come again."""
    longest = max(one.rows.shape[1] for one in segments)
    rows = torch.cat([one.rows[:, torch.arange(longest) % one.rows.shape[1]] for one in segments])
    return Sample(rows, torch.cat([one.low for one in segments]), torch.cat([one.high for one in segments]))
