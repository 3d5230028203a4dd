"""What a field of a file can have come to hold: edited by hand, by another program, or by accident."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from ann2snn_diffusion.common.errors import A2SError

Scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 20),
    st.sampled_from([10**12, 2**63, -(2**70)]),
    st.floats(-2, 2),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e30, 1e-30]),
    st.sampled_from(["", "x", "radix", "silu", "ddpm", "torch.nn.Linear", "n" * 300]),
)
VALUES: st.SearchStrategy[Any] = st.one_of(
    Scalar, st.lists(Scalar, max_size=3), st.dictionaries(st.sampled_from(["all", "x", ""]), Scalar, max_size=2)
)
"""JSON's values."""


def changes(fields: Sequence[str]) -> st.SearchStrategy[tuple[str, Any]]:
    """A field, also one that nobody has heard of, and its new value."""
    return st.tuples(st.sampled_from([*fields, "unheard_of"]), VALUES)


def loaded(load: Callable[[], Any]) -> tuple[Any, str]:
    """What loads, and ""; or None, and the line that refuses it."""
    try:
        return load(), ""
    except A2SError as refused:
        return None, str(refused)


def as_read(value: Any) -> Any:
    """A value as specs hold it: lists are tuples."""
    return tuple(map(as_read, value)) if isinstance(value, list | tuple) else value


def same(value: Any, other: Any) -> bool:
    """Whether both mean the same; NaN is NaN."""
    return repr(as_read(value)) == repr(as_read(other)) or as_read(value) == as_read(other)
