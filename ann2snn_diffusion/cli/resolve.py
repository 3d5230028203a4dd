"""What a command is to do: defaults, overridden by the recipe, overridden by flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ann2snn_diffusion.cli.tables import RunSpec
from ann2snn_diffusion.common.specs import build, require, settings


@dataclass(frozen=True)
class Request:
    """What was asked of a command."""

    flags: Mapping[str, Any]
    """Values by name of the field or parameter; what was not given is not there."""
    recipe: str | None
    """As it was given, by file or by name."""
    tables: Mapping[str, Mapping[str, Any]]
    """Of the recipe."""


def resolve(request: Request, specs: Mapping[str, type]) -> dict[str, Any]:
    """The specs of a command by table; those that have a seed take that of [run].

    Raises:
        SpecError: an unknown field, or an impossible value.
    """
    run = build(RunSpec, request.tables.get("run", {}))
    resolved = {}
    for table, kind in specs.items():
        known, values = settings(kind), dict(request.tables.get(table, {}))
        if "seed" in known:
            require("seed" not in values, "seed", values.get("seed"), "it in the table [run]")
            values["seed"] = run.seed
        resolved[table] = build(kind, values | {name: value for name, value in request.flags.items() if name in known})
    return resolved
