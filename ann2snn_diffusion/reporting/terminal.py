"""What a terminal shows: results, and how far long work is; a log file gets a line a minute instead of bars."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ann2snn_diffusion.common.progress import Advance, Track, silent

PIPE_WIDTH = 10_000
"""Columns where no terminal cuts a table."""


def console(quiet: bool = False) -> Console:
    """Where results are printed: stdout; nowhere if ``quiet``."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, quiet=quiet)


def tell(out: Console, line: str) -> None:
    """Print a line as it is, however long."""
    out.print(line, soft_wrap=True, markup=False, highlight=False)


@contextmanager
def following(quiet: bool = False) -> Iterator[Track]:
    """Follow long work on stderr: bars in a terminal, lines in a file, nothing if ``quiet``."""
    if quiet:
        yield silent
    elif sys.stderr.isatty():
        columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
        with Progress(TextColumn("{task.description:<28}"), *columns, console=Console(stderr=True)) as progress:
            yield bars(progress)
    else:
        yield lines(sys.stderr)


def bars(progress: Progress) -> Track:
    """A `Track` that gives every stage a bar."""

    def track(stage: str, steps: int) -> Advance:
        task, resumed = progress.add_task(stage, total=steps), False

        def advance(done: int | None = None, figures: Mapping[str, float] | None = None) -> None:
            nonlocal resumed
            if done is not None and not resumed:  # what an earlier run did says nothing of this one's speed
                progress.reset(task, completed=done - 1)
                resumed = True
            description = ", ".join([stage, *_shown(figures)])
            progress.update(task, completed=done, advance=1 if done is None else None, description=description)

        return advance

    return track


def lines(file: TextIO, every: float = 60, clock: Callable[[], float] = time.monotonic) -> Track:
    """A `Track` that writes how far a stage is, once in ``every`` seconds of all stages."""
    said = clock()

    def track(stage: str, steps: int) -> Advance:
        started, count, earlier = clock(), 0, None

        def advance(done: int | None = None, figures: Mapping[str, float] | None = None) -> None:
            nonlocal said, count, earlier
            count, now = count + 1 if done is None else done, clock()
            earlier = count - 1 if earlier is None else earlier
            if now - said >= every:
                said, left = now, (now - started) / (count - earlier) * (steps - count)
                words = [f"{stage}: {count} of {steps}", _time(left), *_shown(figures)]
                file.write(", ".join(words) + "\n")
                file.flush()

        return advance

    return track


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min left" if seconds >= 60 else "under a minute left"


def _shown(figures: Mapping[str, float] | None) -> list[str]:
    return [f"{name} {value:.4g}" for name, value in (figures or {}).items()]
