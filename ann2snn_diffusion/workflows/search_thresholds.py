"""The use case: threshold guidance is searched, judged on states that the search never saw, and stored in the model."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

from accelerate import PartialState
from torch import Tensor

from ann2snn_diffusion.common.atomic_output import (
    OutputError,
    make_folder,
    new_folder,
    refuse_existing,
    work_beside,
)
from ann2snn_diffusion.common.digest import digest
from ann2snn_diffusion.common.processes import everywhere, reserved_by_main
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.data.datasets import RealImages
from ann2snn_diffusion.diffusion.conditioning import refuse_conditional
from ann2snn_diffusion.diffusion.sampling import scheduler_settings
from ann2snn_diffusion.evaluation.class_shares import class_shares
from ann2snn_diffusion.evaluation.fidelity import measure_fidelity
from ann2snn_diffusion.evaluation.network_layout import layout_of
from ann2snn_diffusion.evaluation.noise_strata import strata_bounds
from ann2snn_diffusion.evaluation.real_data import RealData
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.models.provenance import entry
from ann2snn_diffusion.reporting.picture import picture
from ann2snn_diffusion.reporting.search_plots import plot_curve, plot_map, plot_trade_off
from ann2snn_diffusion.search.journal import Trial, open_journal
from ann2snn_diffusion.search.objectives import objective_of, require_possible, states_of
from ann2snn_diffusion.search.result import Search, stored
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.search.trials import Bench, Notebook, SearchError, search_factors
from ann2snn_diffusion.search.verdict import cost, judge
from ann2snn_diffusion.spiking.folding import require_ann
from ann2snn_diffusion.spiking.guidance import dimensions_of, groups_with_sites
from ann2snn_diffusion.spiking.modes import analog, fused_where_it_pays
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel, architecture
from ann2snn_diffusion.workflows.result_folder import Writing, sample_grids, write_result


def search_thresholds(
    unet: SpikingUNet2DModel,
    scheduler: Any,
    *,
    spec: SearchSpec | None = None,
    data: RealData | RealImages | None = None,
    journal: Path | None = None,
    process: PartialState | None = None,
    track: Track = silent,
) -> Search:
    """Search the threshold guidance of a converted network (SDDPM, arXiv 2306.17046, §4.3); ``unet`` is left as it is.

    Args:
        unet: as `convert` makes it; a guidance that it has already is set aside.
        scheduler: the DDPM-family scheduler that the ANN was trained with.
        spec: which factors are tried, and what they are judged by.
        data: for fid and kid, features of real images; for denoise, images.
        journal: file that every trial is added to; if there is one, the search goes on from there. None: nowhere.
        process: one of several that share the drawing; all of them get the result.

    Raises:
        JournalError: the journal there is of another search.
        OutputError: the journal cannot be written.
        ConditionError: a network that takes a condition beside the noisy image.
        ObjectiveError, SamplingError, ScheduleError: the objective cannot be computed from what there is.
        SearchError: the unguided network gives nothing finite; no site in any of the groups; a grid beyond the budget.
        FoldedError: ``unet`` is folded.
    """
    require_ann(unet, "a search of thresholds")
    spec, process = spec or SearchSpec(), process or PartialState()
    require_possible(scheduler, spec, data)
    refuse_conditional(unet, "a search of thresholds")
    groups = _groups(unet, scheduler, spec)
    unet = copy.deepcopy(unet)
    unet.guidance = 1.0
    identity = _identity(unet, scheduler, spec, data)
    known = {} if journal is None else everywhere(lambda: _opened(journal, identity), process)
    states = states_of(unet, scheduler, spec, "searched", track)
    objective = objective_of(unet, scheduler, spec, "searched", states if data is None else data, process)
    bounds = strata_bounds(scheduler)
    counted = states.part(slice(len(bounds) - 1))
    bench = Bench(unet, objective, counted, layout_of(unet, states.part(slice(1))), bounds)
    with fused_where_it_pays(unet, spec.passes):
        trials = search_factors(bench, groups, spec, Notebook(known, journal, process), track)
        base = trials[0]
        winner = min(trials, key=lambda trial: cost(trial, base, spec))
        verdict = None
        if cost(winner, base, spec) < cost(base, base, spec):
            others = states_of(unet, scheduler, spec, "judged", track) if data is None else data
            held_out = objective_of(unet, scheduler, spec, "judged", others, process)
            verdict = judge(unet, held_out, base, winner, spec, track)
    unet.guidance = stored(base, winner, verdict).guidance
    return Search(unet, objective.name, groups, tuple(trials), winner, verdict, identity)


def search_folder(output: Path) -> Path:
    """Where the journal is kept while ``output`` is in the making."""
    return work_beside(output, "search")


def search_thresholds_to_folder(
    converted: Converted,
    output: Path,
    *,
    spec: SearchSpec | None = None,
    data: RealData | RealImages | None = None,
    process: PartialState | None = None,
    writing: Writing | None = None,
    track: Track = silent,
) -> Search:
    """`search_thresholds` of a converted model, and write a folder of the same kind, with all trials and plots.

    Args:
        output: the folder; the journal goes to `search_folder` (output).
        writing: pictures, and whether a folder is replaced.

    Raises:
        OutputError: ``output`` exists, or cannot be written; a model is where the journal belongs.
        JournalError, ConditionError, ObjectiveError, SamplingError, SearchError, FoldedError: see `search_thresholds`.
    """
    require_ann(converted.unet, "a search of thresholds")
    spec, process, writing = spec or SearchSpec(), process or PartialState(), writing or Writing()
    require(not writing.folded, "folded", True, "false: a conversion alone is written so; `fold` folds the result")
    refuse_existing(output, writing.force, converted.folder)
    require_possible(converted.scheduler, spec, data)
    refuse_conditional(converted.unet, "a search of thresholds")
    if data is not None and converted.decoder is not None:
        raise SearchError(f"data: {converted.name} draws latents; only objective = 'epsilon' is supported for it.")
    _groups(converted.unet, converted.scheduler, spec)
    working = search_folder(output)
    with reserved_by_main(output, process):
        everywhere(lambda: _make_search_folder(working), process)
        search = search_thresholds(
            converted.unet, converted.scheduler, spec=spec, data=data, journal=working / "journal.jsonl",
            process=process, track=track,
        )  # fmt: skip
        if process.is_main_process:
            _write(converted, search, spec, output, writing, track)
    return search


def _write(
    converted: Converted, search: Search, spec: SearchSpec, output: Path, writing: Writing, track: Track
) -> None:
    report = measure_fidelity(search.unet, converted.scheduler, spec.seed, track=track)
    grids = _pictures(search, converted, writing, spec.seed, track)
    settings = dataclasses.asdict(spec) | {
        "optimizer": spec.chosen_optimizer, "count": spec.searched, "held_out": spec.judged,
        "stored": search.guidance, "identity": search.identity,
    }  # fmt: skip
    base = search.trials[0]
    before = {name: value for name, value in base.to_json().items() if name in ("spikes", "energy_share")}
    done = entry("search-thresholds", settings, {search.objective: base.value, **before},
                {"verdict": search.to_dict()["verdict"], **report.figures()})  # fmt: skip
    guided = dataclasses.replace(converted, unet=search.unet, provenance=(*converted.provenance, done))
    with new_folder(output, writing.force, converted.folder) as folder:
        write_result(folder, guided, report, grids)
        content = {"settings": settings | {"versions": done["versions"]}, **search.to_dict()}
        (folder / "threshold_search.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
        title = f"{converted.name}, {search.unet.spec.coding}, T = {search.unet.spec.time_steps}: {search.objective}"
        with picture(folder / "search.png") as file:
            (plot_map if len(search.groups) > 1 else plot_curve)(file, search, title)
        with picture(folder / "trade_off.png") as file:
            plot_trade_off(file, search, title)


def _pictures(search: Search, converted: Converted, writing: Writing, seed: int, track: Track) -> dict[str, Tensor]:
    """Grids of samples by title."""
    guided = copy.deepcopy(search.unet)
    grids: dict[str, Tensor] = {}

    def add(title: str, trial: Trial) -> None:
        guided.guidance = trial.guidance
        grids.update(sample_grids({title: guided}, converted, writing, seed, track))

    with analog(guided):
        add("ANN", search.trials[0])
    add("SNN, factor 1", search.trials[0])
    add("SNN, the winner's factors", search.winner)
    return grids


def _groups(unet: SpikingUNet2DModel, scheduler: Any, spec: SearchSpec) -> tuple[str, ...]:
    if not spec.by:
        return ("all",)
    if not set(spec.by) <= set(dimensions_of(unet.spec.coding)):
        raise SearchError("by = step: expected radix or ternary coding; in rate coding all steps weigh the same.")
    found = groups_with_sites(spec.by, unet.neurons(), unet.spec.segments, len(scheduler.alphas_cumprod))
    if not found:
        raise SearchError(f"by = {', '.join(spec.by)}: this model has no site in any of these groups.")
    fewest = 2 ** len(found) + 1
    if spec.optimizer == "grid" and spec.evaluations < fewest:
        raise SearchError(
            f"evaluations = {spec.evaluations}: a grid of {len(found)} factors needs at least {fewest}; "
            "choose another `optimizer`, or fewer groups."
        )
    return tuple(found)


def _identity(
    unet: SpikingUNet2DModel, scheduler: Any, spec: SearchSpec, data: RealData | RealImages | None
) -> dict[str, Any]:
    """All that values depend on; what else a SearchSpec has may differ when a search goes on."""
    settings = {
        "architecture": architecture(unet), "spiking": unet.config["spiking"], "scheduler": type(scheduler).__name__,
        "noise": scheduler_settings(scheduler),
    }  # fmt: skip
    identity = {"model": digest(unet, **settings)[:16], "device": unet.device.type, "objective": spec.objective}
    identity |= {"count": spec.searched, "batch_size": spec.batch_size, "seed": spec.seed}
    identity |= {"sampler_steps": spec.sampler_steps}
    if isinstance(data, RealImages):
        identity |= {"data": data.name, "data_digest": data.digest[:16]}
    if isinstance(data, RealData):
        key = digest(data.network.network, reference=data.reference.mean.tolist())[:16]
        identity |= {"data": data.reference.name, "features": data.network.name, "data_digest": key}
        identity |= {"sampler": spec.scheduler, "steps": spec.steps}
        identity |= {"class_shares": list(shares)} if (shares := class_shares(unet, data)) else {}
    return identity


def _opened(journal: Path, identity: dict[str, Any]) -> dict[str, Trial]:
    return {trial.key: trial for trial in open_journal(journal, identity)}


def _make_search_folder(working: Path) -> None:
    if (working / "model_index.json").exists():
        raise OutputError(f"{working} is a model, and its name that of this search's journal: choose another `output`.")
    make_folder(working)
