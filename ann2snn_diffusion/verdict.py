"""Whether a guidance that a search found is better than none, on states or images that the search never saw."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ann2snn_diffusion.journal import Evaluation
from ann2snn_diffusion.objectives import JUDGED, Objective
from ann2snn_diffusion.progress import Track, silent
from ann2snn_diffusion.quality import interval
from ann2snn_diffusion.randomness import stream
from ann2snn_diffusion.search_spec import SearchSpec
from ann2snn_diffusion.unet import SpikingUNet2DModel

WORST = 1e12
"""The cost where the network gives nothing finite."""


@dataclass(frozen=True)
class Verdict:
    """The winner of a search beside factor 1, on held-out states or images."""

    count: int
    at_one: float
    at_winner: float
    difference: float
    """``at_winner`` − ``at_one``."""
    interval: tuple[float, float]
    """95 %, bootstrapped in pairs."""
    wins: bool
    """All of the interval is a gain, what the energy term adds included."""


def cost(evaluation: Evaluation, base: Evaluation, energy: float) -> float:
    """What a search minimises: the objective relative to factor 1, and ``energy`` times relative spikes."""
    if math.isnan(evaluation.value):
        return WORST
    return evaluation.value / abs(base.value) + energy * evaluation.spikes / max(base.spikes, 1)


def judge(
    unet: SpikingUNet2DModel,
    objective: Objective,
    base: Evaluation,
    winner: Evaluation,
    spec: SearchSpec,
    track: Track = silent,
) -> Verdict:
    """Measure factor 1 (``base``) and ``winner`` on held-out rows of ``objective``, and bootstrap their difference."""
    rows = []
    advance = track("held out", 2)
    for evaluation in (base, winner):
        unet.guidance = evaluation.guidance
        rows.append(objective.draw(unet))
        advance()
    at_one, at_winner = (objective.score(part) for part in rows)
    generator = stream(spec.seed, JUDGED, 1)
    drawn = []
    advance = track("bootstrap", spec.bootstrap)
    for _ in range(spec.bootstrap):
        again = torch.randint(len(rows[0]), (len(rows[0]),), generator=generator)
        first, second = (objective.score(part[again]) for part in rows)
        drawn.append(second - first)
        advance()
    difference = at_winner - at_one
    low, high = interval(difference, torch.tensor(drawn))
    saved = spec.energy * (winner.spikes / max(base.spikes, 1) - 1)
    return Verdict(len(rows[0]), at_one, at_winner, difference, (low, high), high / abs(at_one) + saved < 0)
