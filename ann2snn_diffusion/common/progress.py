"""How long work is followed: a stage announces its steps, and tells of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol


class Advance(Protocol):
    """Called after every step of a stage."""

    def __call__(self, done: int | None = None, figures: Mapping[str, float] | None = None) -> None:
        """One step more, or ``done`` steps in all; ``figures`` are shown beside them."""


Track = Callable[[str, int], Advance]
"""Announces a stage and its number of steps; returns what is to be called after each."""


def idle(done: int | None = None, figures: Mapping[str, float] | None = None) -> None:
    """An `Advance` that shows nothing."""
    del done, figures


def silent(stage: str, steps: int) -> Advance:
    """A `Track` that shows nothing."""
    del stage, steps
    return idle


def part_of(name: str, track: Track) -> Track:
    """``track``, whose stages are those of ``name``."""
    return lambda stage, steps: track(f"{name}: {stage}", steps)
