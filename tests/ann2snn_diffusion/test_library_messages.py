"""Messages of the library name fields in backticks; only the command line knows flags."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLI = ROOT / "ann2snn_diffusion" / "cli"
SOURCES = [
    file
    for folder in ("ann2snn_diffusion", "calibration")
    for file in sorted((ROOT / folder).rglob("*.py"))
    if CLI not in file.parents
]
FLAG = re.compile(r"(?<![\w-])(--[a-z]|-[a-z]\b)")


def texts(tree: ast.AST) -> Iterator[str]:
    """All string literals, f-strings' parts too, that are not docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_text_of_the_library_names_a_flag(file: Path) -> None:
    assert [text for text in texts(ast.parse(file.read_text())) if FLAG.search(text)] == []


def test_a_flag_in_a_message_is_found_and_one_in_a_docstring_is_not() -> None:
    found = texts(
        ast.parse('"""Docs of --flag."""\nraise OSError(f"{x}: use --force")\nCUT = "a-o --"\nout = "set -o"')
    )
    assert {text: bool(FLAG.search(text)) for text in found} == {": use --force": True, "a-o --": False, "set -o": True}
