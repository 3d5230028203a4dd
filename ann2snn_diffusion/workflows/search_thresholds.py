"""The use case: threshold guidance is searched, judged on states that the search never saw, and stored in the model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from ann2snn_diffusion.common.atomic_output import OutputError, refuse_existing, refuse_file
from ann2snn_diffusion.common.digest import digest
from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.data.datasets import RealImages
from ann2snn_diffusion.diffusion.sampling import scheduler_settings
from ann2snn_diffusion.evaluation.noise_levels import LEVEL_STARTS
from ann2snn_diffusion.evaluation.real_data import RealData
from ann2snn_diffusion.evaluation.spike_count import spikes_per_image
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.search.journal import Evaluation, append, open_journal
from ann2snn_diffusion.search.objectives import (
    JUDGED,
    SEARCHED,
    Objective,
    States,
    objective_of,
    require_possible,
    sampling_states,
)
from ann2snn_diffusion.search.optimizers import OPTIMIZERS, Point
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.search.verdict import Verdict, cost, judge
from ann2snn_diffusion.spiking.guidance import groups_with_sites
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel, architecture

DIGITS = 6
"""Decimals of a factor."""

Watch = Callable[[int, dict[str, float]], None]
"""Told after every evaluation how many there are, and what the best of them is."""


class SearchError(A2SError):
    """A search that cannot be carried out."""


class _BudgetSpentError(Exception):
    pass


@dataclass(frozen=True)
class Search:
    """All that was tried, and what came of it."""

    objective: str
    groups: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    """In the order of trial; the first is factor 1."""
    winner: Evaluation
    verdict: Verdict | None
    """None where nothing tried was better than factor 1."""
    identity: dict[str, Any]
    """All that values depend on."""

    @property
    def guidance(self) -> dict[str, float]:
        """What is stored: the winner's factors, or factor 1."""
        wins = self.verdict is not None and self.verdict.wins
        return self.winner.guidance if wins else self.evaluations[0].guidance

    def relative_value(self, evaluation: Evaluation) -> float:
        """The objective over that at factor 1, which is 1 even where a KID is negative."""
        base = self.evaluations[0].value
        return 1 + (evaluation.value - base) / abs(base)

    def relative_spikes(self, evaluation: Evaluation) -> float:
        """Spikes over those at factor 1."""
        return evaluation.spikes / max(self.evaluations[0].spikes, 1)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "objective": self.objective,
            "groups": list(self.groups),
            "identity": self.identity,
            "winner": self.winner.to_json(),
            "verdict": None if self.verdict is None else self.verdict.to_dict(),
            "stored": self.guidance,
            "evaluations": [evaluation.to_json() for evaluation in self.evaluations],
        }


def search_folder(output: Path) -> Path:
    """Where the journal is kept while ``output`` is in the making."""
    return output.with_name(f"{output.name}-search")


def search_thresholds(
    converted: Converted,
    output: Path,
    spec: SearchSpec,
    process: PartialState,
    real: RealData | None = None,
    images: RealImages | None = None,
    force: bool = False,
    track: Track = silent,
    watch: Watch = lambda count, best: None,
) -> Search:
    """Search the guidance of a converted model, and set it.

    Args:
        output: the journal is kept beside it; if there is one, the search goes on from there.
        real: for fid and kid.
        images: for denoise.

    Raises:
        OutputError: ``output`` exists, or the journal cannot be written.
        JournalError: the journal there is of another search.
        ObjectiveError, SamplingError: the objective cannot be computed from what there is.
        SearchError: the unguided network gives nothing finite; no site in any of the groups; a grid beyond the budget.
    """
    refuse_existing(output, force)
    require_possible(converted, spec, real, images)
    working = search_folder(output)
    refuse_file(working)
    unet = converted.unet
    unet.guidance = 1.0
    names = _groups(converted, spec)
    objective = objective_of(converted, spec, SEARCHED, process, real, images, track)
    counted = sampling_states(unet, converted.scheduler, len(LEVEL_STARTS), spec.seed, SEARCHED, silent)
    identity = _identity(converted, spec, real, images)
    known = _everywhere(lambda: _opened(working, identity), process)
    evaluations = _try(unet, objective, counted, names, spec, known, working / "journal.jsonl", process, watch)
    base = evaluations[0]
    winner = min(evaluations, key=lambda evaluation: cost(evaluation, base, spec.energy))
    verdict = None
    if cost(winner, base, spec.energy) < cost(base, base, spec.energy):
        held_out = objective_of(converted, spec, JUDGED, process, real, images, track)
        verdict = judge(unet, held_out, base, winner, spec, track)
    search = Search(objective.name, names, tuple(evaluations), winner, verdict, identity)
    unet.guidance = search.guidance
    return search


def _try(
    unet: SpikingUNet2DModel,
    objective: Objective,
    counted: States,
    names: tuple[str, ...],
    spec: SearchSpec,
    known: dict[str, Evaluation],
    journal: Path,
    process: PartialState,
    watch: Watch,
) -> list[Evaluation]:
    """Everything that the optimizer asks for within the budget, each once, factor 1 first."""
    tried: dict[str, Evaluation] = {}
    low, high = spec.bounds

    def evaluate(factors: dict[str, float]) -> Evaluation:
        started = time.perf_counter()
        unet.guidance = factors
        value = objective.value(objective.draw(unet))
        spikes = spikes_per_image(unet, counted.states, counted.diffusion_timesteps, counted.class_labels)
        return Evaluation(factors, value, spikes, round(time.perf_counter() - started, 3))

    def at(position: Point) -> float:
        factors = [round(float(low + part * (high - low)), DIGITS) for part in position]
        asked = Evaluation(dict(zip(names, factors, strict=True)), math.nan, 0, 0)
        if asked.key not in tried:
            spent = spec.minutes and sum(one.seconds for one in tried.values()) > 60 * spec.minutes
            if len(tried) >= spec.evaluations or spent:
                raise _BudgetSpentError
            if asked.key not in known:
                found = evaluate(asked.guidance)
                # One process's clock and last bits count for all, so that all ask for the same points.
                known[asked.key] = _everywhere(lambda: append(journal, found), process)
            tried[asked.key] = known[asked.key]
            base = next(iter(tried.values()))
            best = min(tried.values(), key=lambda one: cost(one, base, spec.energy))
            watch(len(tried), {"at 1": base.value, "best": best.value})
        base = next(iter(tried.values()))
        if not math.isfinite(base.value) or not base.value:
            raise SearchError(f"{objective.name} at factor 1 is {base.value}: there is nothing to compare with.")
        return cost(tried[asked.key], base, spec.energy)

    start = np.full(len(names), (1 - low) / (high - low))
    watch(0, {})
    try:
        at(start)
        OPTIMIZERS[spec.chosen_optimizer](at, start, spec.evaluations, spec.seed)
    except _BudgetSpentError:
        pass
    return list(tried.values())


def _groups(converted: Converted, spec: SearchSpec) -> tuple[str, ...]:
    if not spec.by:
        return ("all",)
    unet, scheduler = converted.unet, converted.scheduler
    last = len(scheduler.alphas_cumprod)  # pyright: ignore[reportAttributeAccessIssue]
    found = groups_with_sites(spec.by, unet.neurons(), unet.spec.segments, last)
    if not found:
        raise SearchError(f"by = {', '.join(spec.by)}: this model has no site in any of these groups.")
    fewest = 2 ** len(found) + 1
    if spec.optimizer == "grid" and spec.evaluations < fewest:
        raise SearchError(
            f"evaluations = {spec.evaluations}: a grid of {len(found)} factors needs at least {fewest}; "
            "choose another --optimizer, or fewer groups."
        )
    return tuple(found)


def _identity(
    converted: Converted, spec: SearchSpec, real: RealData | None, images: RealImages | None
) -> dict[str, Any]:
    """All that values depend on; what else a SearchSpec has may differ when a search goes on."""
    unet, scheduler = converted.unet, converted.scheduler
    settings = {
        "architecture": architecture(unet), "spiking": unet.config["spiking"], "scheduler": type(scheduler).__name__,
        "noise": scheduler_settings(scheduler),
    }  # fmt: skip
    identity = {"model": digest(unet, **settings)[:16], "device": unet.device.type, "objective": spec.objective}
    identity |= {"count": spec.searched, "batch_size": spec.batch_size, "seed": spec.seed}
    if images is not None:
        identity |= {"data": images.name, "data_digest": images.digest[:16]}
    if real is not None:
        data = digest(real.network.network, reference=real.reference.mean.tolist())[:16]
        identity |= {"data": real.reference.name, "features": real.network.name, "data_digest": data}
        identity |= {"sampler": spec.scheduler, "steps": spec.steps}
    return identity


def _opened(working: Path, identity: Mapping[str, Any]) -> dict[str, Evaluation]:
    if (working / "model_index.json").exists():
        raise OutputError(f"{working} is a model; its name is taken for this search's journal: choose another output.")
    try:
        working.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{working} cannot be created: {error.strerror or error}.") from error
    return {evaluation.key: evaluation for evaluation in open_journal(working / "journal.jsonl", identity)}


def _everywhere(make: Callable[[], Any], process: PartialState) -> Any:
    """What ``make`` gives in the main process, in all processes; an error that a user can mend, too."""
    made: list[Any] = [None]
    if process.is_main_process:
        try:
            made = [make()]
        except A2SError as error:
            made = [error]
    broadcast_object_list(made)
    if isinstance(made[0], A2SError):
        raise made[0]
    return made[0]
