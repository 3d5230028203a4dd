"""What a terminal shows: progress bars with a remaining time, silent when nobody watches; and results."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Track = Callable[[str, int], Callable[[], None]]
"""Announces a stage and its number of steps; returns what is to be called after each step."""


def silent(stage: str, steps: int) -> Callable[[], None]:
    """A `Track` that shows nothing."""
    del stage, steps
    return lambda: None


def console() -> Console:
    """Where results are printed: stdout, wide enough for every table where it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 120)


def progress_bars() -> Progress:
    """Bars on stderr; nothing where stderr is not a terminal."""
    return Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


def tracking(progress: Progress) -> Track:
    """A `Track` that gives every stage a bar."""

    def track(stage: str, steps: int) -> Callable[[], None]:
        task = progress.add_task(stage, total=steps)
        return lambda: progress.advance(task)

    return track


def figures_bar(progress: Progress, stage: str, steps: int) -> Callable[[int, dict[str, float]], None]:
    """A bar that is told the step just done and its figures, and shows both; hidden until then."""
    task = progress.add_task(stage, total=steps, visible=False)

    def watch(step: int, figures: dict[str, float]) -> None:
        shown = [f"{name} {value:.4g}" for name, value in figures.items()]
        progress.update(task, completed=step, visible=True, description=", ".join([stage, *shown]))

    return watch
