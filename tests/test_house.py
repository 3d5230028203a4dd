"""What a reader may count on in every file: its size, and the size of its functions."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    file for folder in ("ann2snn_diffusion", "calibration", "benchmarks") for file in (ROOT / folder).rglob("*.py")
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(file: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, Function):
            yield node


def parameters(function: Function) -> int:
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls", "ctx")])


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_and_functions_stay_small(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 300
    command = file.parent.name == "cli"  # whose options come from specs
    for function in functions(file):
        where = f"{file.name}: {function.name}"
        assert command or file.parent.name == "benchmarks" or parameters(function) <= 7, where
        assert (function.end_lineno or 0) - function.body[0].lineno < 60, where
