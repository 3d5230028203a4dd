"""All that an optimizer asks for within its budget: each setting tried once, factor 1 first, and journalled."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from accelerate import PartialState

from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.common.processes import everywhere
from ann2snn_diffusion.common.progress import Advance, Track, silent
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.costs import costs_of
from ann2snn_diffusion.evaluation.network_layout import NetworkLayout
from ann2snn_diffusion.evaluation.spike_count import count_spikes
from ann2snn_diffusion.search.journal import Trial, append
from ann2snn_diffusion.search.objectives import Objective
from ann2snn_diffusion.search.optimizers import OPTIMIZERS, Point
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.search.verdict import cost
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

DIGITS = 6
"""Decimals of a factor."""


class SearchError(A2SError):
    """A search that cannot be carried out."""


class _BudgetSpentError(Exception):
    pass


@dataclass(frozen=True)
class Bench:
    """What a setting of the factors is tried on."""

    unet: SpikingUNet2DModel
    """Its guidance is set to every setting in turn."""
    objective: Objective
    counted: NoisyStates
    """States that spikes are counted on, one in each noise stratum at least."""
    layout: NetworkLayout
    """Of ``unet``."""
    bounds: tuple[int, ...]
    """Of the noise strata, see `noise_strata`."""

    def measure(self, factors: dict[str, float]) -> Trial:
        """Objective, spikes and energy with ``factors``, by group."""
        started = time.perf_counter()
        self.unet.guidance = factors
        value = self.objective.value(self.objective.draw(self.unet))
        counts = count_spikes(self.unet, self.layout, self.counted)
        costs = costs_of(self.layout, counts, {}, self.counted.diffusion_timesteps, self.bounds, sampler_steps=1)
        seconds = round(time.perf_counter() - started, 3)
        return Trial(factors, value, counts.spikes_per_image(), seconds, costs.energy().share)


@dataclass
class Notebook:
    """What was tried.

    Attributes:
        known: trials of earlier runs, by setting; they cost nothing.
        journal: file that new ones are added to; None: nowhere.
        process: one of several that ask for the same settings.
        tried: trials of this search, in their order.
    """

    known: dict[str, Trial]
    journal: Path | None
    process: PartialState
    tried: dict[str, Trial] = field(default_factory=dict)

    def trial(self, bench: Bench, asked: Trial) -> Trial:
        """``asked`` with what it gives: as known, or measured now."""
        if asked.key not in self.known:
            found, journal = bench.measure(asked.guidance), self.journal
            # One process's clock and last bits count for all, so that all ask for the same points.
            keep = (lambda: found) if journal is None else (lambda: append(journal, found))
            self.known[asked.key] = everywhere(keep, self.process)
        self.tried[asked.key] = self.known[asked.key]
        return self.tried[asked.key]


def search_factors(
    bench: Bench, groups: tuple[str, ...], spec: SearchSpec, notebook: Notebook, track: Track = silent
) -> list[Trial]:
    """All trials of a search, factor 1 first.

    Raises:
        SearchError: the unguided network gives nothing finite.
    """
    low, high = spec.bounds
    advance = track("thresholds", spec.evaluations)

    def at(position: Point) -> float:
        factors = [round(float(low + part * (high - low)), DIGITS) for part in position]
        asked = Trial(dict(zip(groups, factors, strict=True)), math.nan, 0, 0)
        if asked.key not in notebook.tried:
            _refuse_beyond_budget(notebook, spec)
            notebook.trial(bench, asked)
            _tell(advance, notebook, spec)
        base = next(iter(notebook.tried.values()))
        if not math.isfinite(base.value) or not base.value:
            raise SearchError(f"{bench.objective.name} at factor 1 is {base.value}: there is nothing to compare with.")
        return cost(notebook.tried[asked.key], base, spec)

    start = np.full(len(groups), (1 - low) / (high - low))
    try:
        at(start)
        OPTIMIZERS[spec.chosen_optimizer](at, start, spec.evaluations, spec.seed)
    except _BudgetSpentError:
        pass
    return list(notebook.tried.values())


def _refuse_beyond_budget(notebook: Notebook, spec: SearchSpec) -> None:
    spent = spec.minutes and sum(one.seconds for one in notebook.tried.values()) > 60 * spec.minutes
    if len(notebook.tried) >= spec.evaluations or spent:
        raise _BudgetSpentError


def _tell(advance: Advance, notebook: Notebook, spec: SearchSpec) -> None:
    base = next(iter(notebook.tried.values()))
    best = min(notebook.tried.values(), key=lambda one: cost(one, base, spec))
    advance(len(notebook.tried), {"at 1": base.value, "best": best.value})
