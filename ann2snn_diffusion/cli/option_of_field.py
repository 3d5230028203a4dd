"""Options made from the fields of specs.

A number, a text and a choice follow their flag; a switch is --flag or --no-flag; several texts take a flag each
(``--by stage --by kind``), several whole numbers one text (``--segments 0,50,300``), a pair two places
(``--bounds 0.9 1.1``). An option that was not given is None.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from inspect import Parameter
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from ann2snn_diffusion.common.specs import Setting, settings

SHORT_FORMS = {"count": "-n"}
WITHOUT_FLAG = frozenset({"guidance", "commands"})
"""Fields that only recipes hold."""


def flag_of(field: str) -> str:
    """``time_steps`` → ``--time-steps``."""
    return "--" + field.replace("_", "-")


def fields_with_flags(spec: type) -> dict[str, Setting]:
    """The fields of a spec that have an option, by name."""
    return {name: declared for name, declared in settings(spec).items() if name not in WITHOUT_FLAG}


def option(declared: Setting, others: Collection[str]) -> Parameter:
    """The parameter of a typer command that stands for a field.

    Args:
        others: names of all options of the command; the help text turns them into flags.
    """
    name, default = declared.name, shown_default(declared)
    decls = (flag_of(name), SHORT_FORMS[name]) if name in SHORT_FORMS else ()
    help_text = with_flags(declared.meaning, {other: flag_of(other) for other in others})
    if choices := _choices(declared.annotation):
        help_text += f" One of {', '.join(choices)}."
    kind = _flag_type(declared.annotation)
    if kind == list[str]:
        help_text += " Repeatable."
    if default:
        help_text += f"  [default: {default}]"
    info = typer.Option(*decls, help=help_text)
    annotation = Annotated[kind | None, info]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def parse(declared: Setting, given: Any) -> Any:
    """A field's value out of what its option gave; what cannot be one is left for the spec to refuse."""
    if not _is_number_list(declared.annotation):
        return given
    try:
        return tuple(int(part) for part in given.split(","))
    except ValueError:
        return given


def as_typed(value: Any) -> str:
    """A value as it is typed behind a flag."""
    if isinstance(value, tuple | list):
        return ("," if all(isinstance(part, int) for part in value) else " ").join(map(as_typed, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def with_value(flag: str, value: Any) -> str:
    """A flag as it was given: ``--bounds 0.9 1.1``, ``--no-use-ema``, ``--by stage --by kind``."""
    if isinstance(value, bool):
        return flag if value else flag.replace("--", "--no-", 1)
    if isinstance(value, tuple) and all(isinstance(part, str) for part in value):
        return " ".join(f"{flag} {part}" for part in value)
    return f"{flag} {as_typed(value)}"


def shown_default(declared: Setting) -> str:
    """A field's default as help shows it; empty where nothing is the default."""
    if declared.default is None:
        return ""
    if isinstance(declared.default, bool):
        return with_value(flag_of(declared.name), declared.default).removeprefix("--")
    return as_typed(declared.default)


def with_flags(text: str, flags: Mapping[str, str]) -> str:
    """Names in backticks become flags where the command has them, and lose their backticks where not."""
    return re.sub("`([^`]+)`", lambda named: flags.get(named[1], named[1]), text)


def _choices(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is tuple:
        return _choices(get_args(annotation)[0])
    return tuple(filter(None, get_args(annotation))) if get_origin(annotation) is Literal else ()


def _is_number_list(annotation: Any) -> bool:
    return annotation in (tuple[int, ...], tuple[float, ...])


def _flag_type(annotation: Any) -> Any:
    if _is_number_list(annotation) or get_origin(annotation) is Literal:
        return str
    if get_origin(annotation) is tuple and get_args(annotation)[-1] is ...:
        return list[str]
    return annotation
