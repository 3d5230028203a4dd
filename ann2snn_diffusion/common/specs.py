"""Frozen dataclasses out of JSON and TOML values, unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from math import inf
from typing import Any, TypeVar

from ann2snn_diffusion.common.errors import A2SError


class SpecError(A2SError, ValueError):
    """A specification that cannot be carried out; the message names the field, the value and what was expected."""


Spec = TypeVar("Spec")


def build(kind: type[Spec], values: Mapping[str, Any]) -> Spec:
    """A dataclass of type ``kind``; lists become tuples, fields that are missing keep their defaults.

    Raises:
        SpecError: unknown field, or a value that the dataclass refuses.
    """
    known = [field.name for field in fields(kind)]  # pyright: ignore[reportArgumentType]
    for name in values:
        if name not in known:
            raise SpecError(f"Unknown field {name!r}; expected one of {', '.join(known)}.")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def require(holds: bool, field: str, value: Any, expected: str) -> None:
    """Refuse a field's value.

    Raises:
        SpecError: ``holds`` is false.
    """
    if not holds:
        raise SpecError(f"{field} = {value!r}: expected {expected}.")


def require_whole(spec: object, lowest: Mapping[str, int]) -> None:
    """Refuse fields of ``spec`` that are not whole numbers from their lowest value on.

    Raises:
        SpecError: names the first such field.
    """
    for field, low in lowest.items():
        value = getattr(spec, field)
        require(is_number(value, low, whole=True), field, value, f"a whole number from {low}")


def require_flags(spec: object, names: tuple[str, ...]) -> None:
    """Refuse fields of ``spec`` that are not booleans.

    Raises:
        SpecError: names the first such field.
    """
    for field in names:
        value = getattr(spec, field)
        require(isinstance(value, bool), field, value, "true or false")


def is_number(value: Any, low: float, high: float = inf, whole: bool = False) -> bool:
    """``value`` is a finite number in [low, high], not a boolean; a whole one where asked."""
    kinds = int if whole else int | float
    return isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high and value < inf
