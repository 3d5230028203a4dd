"""Messages of errors, told to somebody at a terminal: of flags and recipes, not of fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ann2snn_diffusion.cli.option_of_field import with_flags, with_value
from ann2snn_diffusion.cli.resolve import Request
from ann2snn_diffusion.cli.tables import stages_in
from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.common.specs import SpecError


def explain(error: A2SError, request: Request, flags: Mapping[str, str]) -> str:
    """One line: names in backticks become flags, and a value that was refused is shown where it was given.

    Args:
        flags: those of the running command, by name of the field or parameter.
    """
    if not isinstance(error, SpecError):
        return with_flags(str(error), flags)
    return f"{_as_given(error, request, flags)}: expected {with_flags(error.expected, flags)}."


def _as_given(error: SpecError, request: Request, flags: Mapping[str, str]) -> str:
    name, value = error.field, error.value
    if name in flags and name in request.flags and _comes_from(value, request.flags[name]):
        return with_value(flags[name], value)
    for table, stages in request.tables.items():
        for number, values in enumerate(stages_in(stages), 1):
            if name in values and _comes_from(value, values[name]):
                where = f"stage {number} of [[{table}]]" if isinstance(stages, list) else f"[{table}]"
                return f"{request.recipe} {where} {name} = {json.dumps(value, ensure_ascii=False, default=str)}"
    return f"{name} = {value!r}"


def _comes_from(value: Any, given: Any) -> bool:
    """Whether a value is what was given; lists have become tuples, and files may have become their names."""
    names = (str(given),) if isinstance(given, Path) else ()
    return value in (given, tuple(given) if isinstance(given, list) else given, *names)
