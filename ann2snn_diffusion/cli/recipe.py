"""Recipes: TOML files that describe runs of one or several commands."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from ann2snn_diffusion.cli.tables import STAGED, TABLES, RunSpec, stages_in
from ann2snn_diffusion.common.errors import A2SError, first_line
from ann2snn_diffusion.common.specs import settings

INSTALLED = Path(__file__).parents[1] / "recipes"
CHECKED_OUT = Path(__file__).parents[2] / "recipes"

Tables = dict[str, Any]
"""By name; a list of those that are stages."""


class RecipeError(A2SError):
    """A recipe that cannot be found or read, or that is not for this command."""


def recipes() -> dict[str, Path]:
    """All shipped recipes by name, from a wheel or an editable install."""
    folder = INSTALLED if INSTALLED.is_dir() else CHECKED_OUT
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_recipe(recipe: str, command: str) -> Tables:
    """The tables of a recipe, given by file or by name, that ``command`` uses.

    Raises:
        RecipeError: no such recipe; not TOML; unknown tables, or an empty stage; tables that are not used by
            ``command`` or, where [run] names commands, by none of these; a recipe for other commands.
    """
    tables = _parsed(recipe)
    known = list(dict.fromkeys(["run", *(table for specs in TABLES.values() for table in specs)]))
    for name, table in tables.items():
        if name not in known or not _is_table(name, table):
            found = f"[{name}]" if isinstance(table, dict) else f"{name} = {table!r}"
            raise RecipeError(f"{recipe}: expected tables among {', '.join(f'[{one}]' for one in known)}; got {found}.")
        if isinstance(table, list) and {} in table:
            empty = table.index({}) + 1
            raise RecipeError(f"{recipe}: stage {empty} of [[{name}]] is empty; give its `steps`, or remove it.")
    commands = _commands(recipe, tables.get("run", {}), command)
    used = {"run", *(table for one in commands for table in TABLES[one])}
    for name in tables:
        if name not in used:
            raise RecipeError(
                f"{recipe}: {_together(commands)} has no use for [{name}]; remove that table, or name in [run] all "
                'commands that the recipe is for, as in commands = ["convert", "finetune"].'
            )
    return {name: table for name, table in tables.items() if name == "run" or name in TABLES[command]}


def _parsed(recipe: str) -> dict[str, Any]:
    path = Path(recipe) if Path(recipe).is_file() else recipes().get(recipe)
    if path is None:
        raise RecipeError(f"{recipe}: no such file or recipe; recipes are {', '.join(recipes()) or 'missing'}.")
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: not readable as TOML: {first_line(error)}") from error


def _is_table(name: str, value: Any) -> bool:
    stages = stages_in(value) if name in STAGED else [value]
    return bool(stages) and all(isinstance(stage, dict) for stage in stages)


def _commands(recipe: str, run: dict[str, Any], command: str) -> list[str]:
    """What the recipe is for: what [run] says, or ``command`` where it says nothing."""
    commands, declared = run.get("commands", []), settings(RunSpec)["commands"]
    if not isinstance(commands, list) or not declared.accepts(tuple(commands)):
        raise RecipeError(f"{recipe} [run] commands = {commands!r}: expected {declared.expected}.")
    if commands and command not in commands:
        raise RecipeError(f"{recipe}: is for {_together(commands)}, not for a2s {command}.")
    return commands or [command]


def _together(commands: list[str]) -> str:
    return " and ".join(f"a2s {command}" for command in commands)
