"""Remake the figures of docs/results.md: ``python -m benchmarks results --quick`` or ``--full``.

--full takes many hours on two CPU cores. --quick takes fewer states, steps and images, minutes a row; so its figures
differ, and it shows that every command runs. Both go on where they were cut off: a command whose result is there is not
run again.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.result_rows import QUICK, ROWS, Row, Step

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
Run = Callable[[list[str], Path, Path | None], None]
"""Runs a program in a folder; what it prints goes into a file, if one is named."""


def results(
    quick: Annotated[bool, typer.Option("--quick/--full", help="Few states, steps and images, or as on the page.")],
    names: Annotated[list[str] | None, typer.Argument(help="Rows, by their anchors.  [default: all]")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="[default: runs/results-quick or -full]")
    ] = None,
) -> None:
    """Run the commands of each row, and write their figures beside those of docs/results.md."""
    unknown = set(names or ()) - {row.name for row in ROWS}
    if unknown:
        known = ", ".join(row.name for row in ROWS)
        raise SystemExit(f"{', '.join(sorted(unknown))}: no such row; expected one of {known}.")
    folder = output or Path("runs") / ("results-quick" if quick else "results-full")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"{folder}: expected a folder, or a place for one: {error}.") from error
    report = [opening(quick)]
    for row in ROWS:
        if not names or row.name in names:
            remake(row, folder, quick)
            report.append(compared(row, folder))
            (folder / "results.md").write_text("\n\n".join(report) + "\n", "utf-8")
    print("\n\n".join(report))


def run(program: list[str], folder: Path, printed: Path | None) -> None:
    """Run a program; where it fails, end with its command."""
    try:
        output = subprocess.run(program, cwd=folder, check=True, stdout=subprocess.PIPE if printed else None, text=True)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{' '.join(program)}: ended with exit code {error.returncode}; see above.") from error
    if printed:
        printed.write_text(output.stdout, "utf-8")


def remake(row: Row, folder: Path, quick: bool, run: Run = run) -> None:
    """Run the steps of a row whose results are not there."""
    for step in row.steps:
        if not (folder / step.makes).exists():
            run(program(step, quick), folder, folder / step.makes if step.of_benchmark else None)


def program(step: Step, quick: bool) -> list[str]:
    """A step as the program that is run."""
    name, *arguments = step.command.split()
    more = QUICK.get(name, "").split() if quick else []
    if step.of_benchmark:
        return [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *arguments, *more]
    return [sys.executable, "-m", "ann2snn_diffusion.cli", name, *arguments, *more]


def opening(quick: bool) -> str:
    """Heading and warning."""
    lines = ["# Figures, remade"]
    if quick:
        lines.append("Few states, steps and images: these figures differ from those of docs/results.md.")
    return "\n\n".join(lines)


def compared(row: Row, folder: Path) -> str:
    """What a row came to, and its line of docs/results.md."""
    lines = [f"## {row.name}", f"docs/results.md: {stored(row.name)}"]
    if row.figures:
        lines.append("\n".join(f"- {title}: {figure(folder, *where)}" for title, where in row.figures.items()))
    lines += [f"```\n{(folder / step.makes).read_text().strip()}\n```" for step in row.steps if step.of_benchmark]
    return "\n\n".join(lines)


def stored(name: str) -> str:
    """The line that has a row's anchor."""
    anchor = f'<a id="{name}"></a>'
    found = next(line for line in PAGE.read_text("utf-8").splitlines() if anchor in line)
    return re.sub(r"<[^>]*>", " ", found).strip()


def figure(folder: Path, file: str, keys: str) -> str:
    """One figure, with four digits that count."""
    found: Any = json.loads((folder / file).read_text("utf-8"))
    for key in keys.split("."):
        found = found[key]
    return shown(found)


def shown(found: Any) -> str:
    """Numbers with four digits, ranges with dots between."""
    if isinstance(found, list):
        return " … ".join(shown(one) for one in found)
    return f"{found:.4g}" if isinstance(found, float) else str(found)
