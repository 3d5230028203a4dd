"""Frozen dataclasses whose fields are declared once: type, default, meaning and range; unknown keys are refused.

Values are checked against the declaration; command-line options, the keys of recipes and the documentation's tables are
made from it.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ann2snn_diffusion.common.errors import A2SError


class SpecError(A2SError, ValueError):
    """A value that cannot be carried out.

    Attributes:
        field: name of the field or argument.
        value: what came.
        expected: what was expected, in words; names of other fields stand in backticks.
    """

    def __init__(self, field: str, value: Any, expected: str) -> None:
        super().__init__(field, value, expected)
        self.field, self.value, self.expected = field, value, expected

    def __str__(self) -> str:
        return f"{self.field} = {self.value!r}: expected {self.expected}."


LONGEST = 2**63
"""What whole numbers stay below."""
Spec = TypeVar("Spec")


@dataclass(frozen=True)
class Setting:
    """A field of a spec, as `setting` declared it."""

    name: str
    annotation: Any
    """int, float, bool, str, None, a Literal of texts; tuples, unions and mappings of these."""
    default: Any
    meaning: str
    at_least: float | None
    above: float | None
    at_most: float | None
    in_words: str

    @property
    def expected(self) -> str:
        """Type and range in words: "a whole number from 1 to 16"."""
        return self.in_words or _in_words(self.annotation, self)

    def accepts(self, value: Any) -> bool:
        """Whether ``value`` is of the field's type and within its range; NaN, infinities and True for 1 are not."""
        return _fits(value, self.annotation, self)


def setting(
    default: Any,
    meaning: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    in_words: str = "",
) -> Any:
    """A field of a spec: its default, its help text, and the range of its numbers, those in a tuple too.

    Args:
        meaning: one or two sentences; names of other fields stand in backticks.
        in_words: what is expected, where type and range do not tell all of it.
    """
    declared = {"meaning": meaning, "at_least": at_least, "above": above, "at_most": at_most, "in_words": in_words}
    return field(default=default, metadata=declared)


def settings(kind: type) -> dict[str, Setting]:
    """All fields of a spec by name."""
    annotations = get_type_hints(kind)
    return {one.name: Setting(one.name, annotations[one.name], one.default, **one.metadata) for one in fields(kind)}


def check(spec: object) -> None:
    """Hold all fields of a spec against their declarations.

    Raises:
        SpecError: names the first field of another type or out of its range.
    """
    for name, declared in settings(type(spec)).items():
        value = getattr(spec, name)
        long = isinstance(value, int) and abs(value) >= LONGEST
        require(declared.accepts(value), name, value, "a number of 64 bits" if long else declared.expected)


def build(kind: type[Spec], values: Mapping[str, Any]) -> Spec:
    """A spec of type ``kind``; lists become tuples, fields that are missing keep their defaults.

    Raises:
        SpecError: unknown field, or a value that the spec refuses.
    """
    known = settings(kind)
    for name, value in values.items():
        require(name in known, name, value, f"one of the fields {', '.join(known)}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def require(holds: bool, field: str, value: Any, expected: str) -> None:
    """Refuse a field's value.

    Raises:
        SpecError: ``holds`` is false.
    """
    if not holds:
        raise SpecError(field, value, expected)


def _fits(value: Any, annotation: Any, declared: Setting) -> bool:
    kind, parts = get_origin(annotation) or annotation, get_args(annotation)
    if kind is Literal:
        return value in parts
    if kind in (Union, types.UnionType):
        return any(_fits(value, part, declared) for part in parts)
    if kind is Mapping:
        named = isinstance(value, Mapping) and all(isinstance(name, str) for name in value)
        return named and all(_fits(part, parts[1], declared) for part in value.values())
    if kind is tuple:
        if not isinstance(value, tuple):
            return False
        expected = parts[:1] * len(value) if parts[-1] is ... else parts
        pairs = zip(value, expected, strict=False)
        return len(value) == len(expected) and all(_fits(part, kind, declared) for part, kind in pairs)
    if kind in (int, float):
        number = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
        return number and -inf < value < inf and _within(value, declared) and (kind is float or abs(value) < LONGEST)
    return isinstance(value, kind)


def _within(value: float, declared: Setting) -> bool:
    low, above, high = declared.at_least, declared.above, declared.at_most
    return (low is None or low <= value) and (above is None or above < value) and (high is None or value <= high)


def _in_words(annotation: Any, declared: Setting) -> str:
    kind, parts = get_origin(annotation) or annotation, get_args(annotation)
    if kind is Literal:
        return "one of " + ", ".join(part for part in parts if part)
    if kind in (Union, types.UnionType):
        return " or ".join(_in_words(part, declared) for part in parts if part is not types.NoneType)
    if kind in (tuple, Mapping):
        each = _in_words(parts[kind is Mapping], declared)
        return f"a {'table' if kind is Mapping else 'list'}, each {each}"
    words = {bool: "true or false", str: "a text", int: "a whole number", float: "a number"}[kind]
    return words + _range_in_words(declared) if kind in (int, float) else words


def _range_in_words(declared: Setting) -> str:
    low, above, high = declared.at_least, declared.above, declared.at_most
    if above is not None:
        return f" above {above}" if high is None else f" in ({above}, {high}]"
    start = "" if low is None else f" from {low}"
    return start if high is None else f"{start} to {high}"
