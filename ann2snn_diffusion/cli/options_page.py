"""docs/options.md: ``python -m ann2snn_diffusion.cli.options_page > docs/options.md``."""

from __future__ import annotations

from ann2snn_diffusion.cli.option_of_field import SHORT_FORMS, as_typed, fields_with_flags, flag_of
from ann2snn_diffusion.cli.tables import STAGED, TABLES, RunSpec
from ann2snn_diffusion.common.specs import Setting, settings

OPENING = """# Options

Each command reads tables of a recipe (`--recipe`, a TOML file); a flag overrides the recipe's key. What no table has,
such as `--output` and `--device`, is shown by `--help`.

Made by `python -m ann2snn_diffusion.cli.options_page > docs/options.md`.
"""
HEAD = "| key | flag | value | default | meaning |\n|---|---|---|---|---|"


def page() -> str:
    """The page, as Markdown: a table for each table of a recipe, under the command that uses it."""
    parts = [OPENING, "## All commands", *_section("run", RunSpec)]
    for command, specs in TABLES.items():
        parts.append(f"## a2s {command}")
        for table, spec in specs.items():
            if spec is not RunSpec:
                parts += _section(table, spec)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _section(table: str, spec: type) -> list[str]:
    flags = fields_with_flags(spec)
    rows = [_row(declared, table, name in flags) for name, declared in settings(spec).items()]
    opening = (spec.__doc__ or "").splitlines()[0]
    if table in STAGED:
        opening += f" Several tables `[[{table}]]` are stages, each of which goes on with what the last one ended with."
    return [f"### [{table}]", opening, "\n".join([HEAD, *rows])]


def _row(declared: Setting, table: str, has_flag: bool) -> str:
    name = declared.name
    key = "`seed` of [run]" if name == "seed" and table != "run" else f"`{name}`"
    cells = (key, _flags(declared) if has_flag else "–", declared.expected, _default(declared), declared.meaning)
    return f"| {' | '.join(cells)} |"


def _flags(declared: Setting) -> str:
    flag = f"`{flag_of(declared.name)}`"
    if declared.annotation in (bool, bool | None):
        return f"{flag}, `{flag_of(f'no_{declared.name}')}`"
    return f"{flag}, `{SHORT_FORMS[declared.name]}`" if declared.name in SHORT_FORMS else flag


def _default(declared: Setting) -> str:
    value = declared.default
    if value is None:
        return "see there"
    return str(value).lower() if isinstance(value, bool) else as_typed(value) or "–"


if __name__ == "__main__":
    print(page(), end="")
