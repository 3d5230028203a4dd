"""Whether a guidance that a search found is better than none, on states or images that the search never saw."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch

from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.evaluation.image_quality import interval
from ann2snn_diffusion.search.journal import Trial
from ann2snn_diffusion.search.objectives import Objective
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

WORST = 1e12
"""The cost where the network gives nothing finite."""
STEEP = 100
"""What an objective beyond the tolerance costs more than spikes do, in a search of fewest spikes."""


@dataclass(frozen=True)
class Verdict:
    """The winner of a search beside factor 1, on held-out states or images."""

    count: int
    at_one: float
    at_winner: float
    difference: float
    """``at_winner`` − ``at_one``."""
    interval: tuple[float, float] | None
    """95 %, bootstrapped in pairs; None where the difference is not finite."""
    wins: bool
    """All of the interval is a gain, what the energy term adds included; of fewest spikes, it is not all a loss."""
    saved: float
    """What the energy term adds: relative spikes saved times its weight, 0 without one."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: null for NaN."""
        fields = dataclasses.asdict(self).items()
        return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in fields}


def cost(trial: Trial, base: Trial, spec: SearchSpec) -> float:
    """What a search minimises, relative to factor 1 (``base``).

    The objective, and ``spec.energy`` times spikes; or spikes alone where the objective is within the tolerance.
    """
    if math.isnan(trial.value):
        return WORST
    spikes = trial.spikes / max(base.spikes, 1)
    if spec.goal == "energy":
        worse = (trial.value - base.value) / abs(base.value)
        return spikes + STEEP * max(0.0, worse - spec.tolerance)
    return trial.value / abs(base.value) + spec.energy * spikes


def judge(
    unet: SpikingUNet2DModel,
    objective: Objective,
    base: Trial,
    winner: Trial,
    spec: SearchSpec,
    track: Track = silent,
) -> Verdict:
    """Measure factor 1 (``base``) and ``winner`` on held-out rows of ``objective``, and bootstrap their difference."""
    rows = []
    advance = track("held out", 2)
    for trial in (base, winner):
        unet.guidance = trial.guidance
        rows.append(objective.draw(unet))
        advance()
    saved = spec.energy * (1 - winner.spikes / max(base.spikes, 1))
    at_one, at_winner = (objective.value(part) for part in rows)
    difference = at_winner - at_one
    if not math.isfinite(difference):
        return Verdict(len(rows[0]), at_one, at_winner, difference, None, False, saved)
    generator = stream("bootstrap", spec.seed)
    drawn = []
    advance = track("bootstrap", spec.bootstrap)
    for _ in range(spec.bootstrap):
        again = torch.randint(len(rows[0]), (len(rows[0]),), generator=generator)
        first, second = (objective.score(part[again]) for part in rows)
        drawn.append(second - first)
        advance()
    low, high = interval(difference, torch.tensor(drawn))
    wins = low <= 0 if spec.goal == "energy" else high < saved * abs(at_one)
    return Verdict(len(rows[0]), at_one, at_winner, difference, (low, high), wins, saved)
