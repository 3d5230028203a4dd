"""What a terminal shows: progress bars with a remaining time, silent when nobody watches; and results."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ann2snn_diffusion.common.progress import Advance, Track


def console() -> Console:
    """Where results are printed: stdout, wide enough for every table where it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 128)


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

    def track(stage: str, steps: int) -> Advance:
        task = progress.add_task(stage, total=steps)

        def advance(done: int | None = None, figures: Mapping[str, float] | None = None) -> None:
            shown = [f"{name} {value:.4g}" for name, value in (figures or {}).items()]
            progress.update(task, completed=done, advance=1 if done is None else None,
                            description=", ".join([stage, *shown]))  # fmt: skip

        return advance

    return track
