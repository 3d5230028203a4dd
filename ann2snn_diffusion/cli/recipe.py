"""Recipes: TOML files that describe a run; flags override them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from ann2snn_diffusion.common.errors import A2SError, first_line
from ann2snn_diffusion.common.specs import SpecError

INSTALLED = Path(__file__).parents[1] / "recipes"
TABLES = ("run", "spiking", "calibration", "training", "search")
CHECKED_OUT = Path(__file__).parents[2] / "recipes"


class RecipeError(A2SError):
    """A recipe that cannot be found or read."""


def recipes() -> dict[str, Path]:
    """All shipped recipes by name, from a wheel or an editable install."""
    folder = INSTALLED if INSTALLED.is_dir() else CHECKED_OUT
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_recipe(recipe: str) -> dict[str, Any]:
    """The tables of a recipe, given by file or by name.

    Raises:
        RecipeError: unknown name, or not TOML.
    """
    path = Path(recipe) if Path(recipe).is_file() else recipes().get(recipe)
    if path is None:
        raise RecipeError(f"{recipe}: no such file or recipe; recipes are {', '.join(recipes()) or 'missing'}.")
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: not readable as TOML: {first_line(error)}") from error


def section(recipe: dict[str, Any], name: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """One table of a recipe; overrides that are not None win.

    Raises:
        SpecError: the recipe has a table or key at top level that no command knows, or a key that is no table.
    """
    for key, table in recipe.items():
        if key not in TABLES or not isinstance(table, dict):
            raise SpecError(f"recipe: unknown table {key!r}; expected {', '.join(f'[{name}]' for name in TABLES)}.")
    return recipe.get(name, {}) | {key: value for key, value in overrides.items() if value is not None}
