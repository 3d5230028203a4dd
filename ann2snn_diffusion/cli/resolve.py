"""What a command is to do: defaults, overridden by the recipe, overridden by flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ann2snn_diffusion.cli.tables import STAGED, RunSpec, stages_in
from ann2snn_diffusion.common.specs import build, require, settings


@dataclass(frozen=True)
class Request:
    """What was asked of a command."""

    flags: Mapping[str, Any]
    """Values by name of the field or parameter; what was not given is not there."""
    recipe: str | None
    """As it was given, by file or by name."""
    tables: Mapping[str, Any]
    """Of the recipe; a list of those that are stages."""


def resolve(request: Request, specs: Mapping[str, type]) -> dict[str, Any]:
    """The specs of a command by table; those that have a seed take that of [run].

    Tables that may be stages are a tuple of specs. Flags are those of all stages; the i-th has seed + i, or the second
    would begin with what the first began with.

    Raises:
        SpecError: an unknown field, or an impossible value.
    """
    run = build(RunSpec, request.tables.get("run", {}))
    seed, resolved = request.flags.get("seed", run.seed), {}
    for table, kind in specs.items():
        known, stages = settings(kind), []
        flags = {name: value for name, value in request.flags.items() if name in known}
        for number, values in enumerate(stages_in(request.tables.get(table, {}))):
            if "seed" in known:
                require("seed" not in values, "seed", values.get("seed"), "it in the table [run]")
                flags["seed"] = seed + number
            stages.append(build(kind, values | flags))
        resolved[table] = tuple(stages) if table in STAGED else stages[0]
    return resolved
