"""``python -m benchmarks results --quick|--full``."""

from __future__ import annotations

import typer

from benchmarks.results import results

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(results)


@app.callback()
def benchmarks() -> None:
    """Figures of this repository, remade."""


if __name__ == "__main__":
    app()
