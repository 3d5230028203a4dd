"""The use case: a converted model is trained, measured before and after, and the better is written as a folder.

What the result folder holds is in `result_folder`; what lies beside it while training is under way, in `training`.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ann2snn_diffusion.common.atomic_output import (
    OutputError,
    make_folder,
    new_folder,
    refuse_existing,
    refuse_file,
    work_beside,
)
from ann2snn_diffusion.common.digest import digest
from ann2snn_diffusion.common.processes import everywhere, reserved_by_main
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.diffusion.memory import require_memory
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec, fidelity_on, fidelity_states
from ann2snn_diffusion.evaluation.fidelity_report import FidelityReport
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.models.provenance import entry
from ann2snn_diffusion.reporting.image_grids import save_grids
from ann2snn_diffusion.reporting.picture import picture
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.checkpoint import checkpoints, find_checkpoint
from ann2snn_diffusion.training.loop import Lesson, TrainingError
from ann2snn_diffusion.training.run import Look, TrainingRun, accelerator_for
from ann2snn_diffusion.training.spec import TrainingSpec
from ann2snn_diffusion.training.verdict import improved
from ann2snn_diffusion.workflows.clipping import settle_anew
from ann2snn_diffusion.workflows.result_folder import Writing, sample_grids, write_result
from ann2snn_diffusion.workflows.trainable import TeacherError
from ann2snn_diffusion.workflows.training_stages import (
    Stage,
    Stages,
    final_spec,
    lesson_of,
    stages_of,
    train_stages,
    until_finished,
)


@dataclass(frozen=True)
class Finetuning:
    """A network with its errors to its ANN before and after a training."""

    unet: SpikingUNet2DModel
    """What was trained; or, where that is worse, what it started from."""
    before: FidelityReport
    after: FidelityReport
    improved: bool | None
    """Whether what was trained is better, see `verdict`; None where the error to its own ANN does not tell."""
    stages: Sequence[Stage]
    report: FidelityReport
    """Of the network that is handed out."""

    @property
    def seconds(self) -> float:
        """Of training alone, over all stages, and all runs that they took."""
        return sum(stage.seconds for stage in self.stages)


def finetune(
    unet: SpikingUNet2DModel,
    scheduler: Any,
    *,
    spec: TrainingSpec | Sequence[TrainingSpec] | None = None,
    lesson: Lesson | None = None,
    run: TrainingRun | None = None,
    fidelity: FidelitySpec | None = None,
    track: Track = silent,
) -> Finetuning | None:
    """Train a converted network toward its ANN by surrogate-gradient BPTT; ``unet`` itself is left as it is.

    Where training toward its own ANN made it worse, and not ``even_if_worse``, it is handed out as it was.

    Args:
        unet: as `convert` makes it.
        scheduler: the DDPM-family scheduler that the ANN was trained with.
        spec: how it is trained; of several, each trains what the one before ended with, and the last one judges.
        lesson: another teacher, or images to learn on; by default the ANN that the network was converted from, on its
            own sampling states.
        run: process and device, and where checkpoints are kept; by default this process on the CPU, and nowhere.
        fidelity: on how many states the network is measured before and after.
        track: told of every stage and step.

    Returns:
        The network and its figures; None in all processes but the main one.

    Raises:
        FoldedError, ScheduleError, ConditionError, SpecError, TeacherError: see `lesson_for`.
        TrainingError: also where what was trained predicts nothing finite; see `train`.
        ResumeError, OutputError: see `train`.
    """
    stages = stages_of(spec)
    run = run or TrainingRun(accelerator_for(stages[0]))
    stages = until_finished(stages, run)
    lesson, seed = lesson_of(unet, scheduler, lesson, stages), stages[0].seed
    for stage in stages:
        require_memory("train_batch_size", stage.train_batch_size, unet)
    start, accelerator = copy.deepcopy(unet), run.accelerator
    nn.Module.to(start, accelerator.device)
    nn.Module.to(lesson.ann, accelerator.device)
    before = states = untrained = None
    if accelerator.is_main_process:
        untrained = copy.deepcopy(start.with_spec(final_spec(unet.spec, stages)))
        states = fidelity_states(start, scheduler, seed, fidelity, track)
        before = fidelity_on(untrained, scheduler, states, fidelity, track)
    if start.overshoot is not None:
        start.overshoot.taken.zero_()  # what it learns is ε as it is
    trained, done = train_stages(start, lesson, stages, run, track)
    if before is None or states is None or untrained is None:
        return None
    settle_anew(trained, lesson.ann, scheduler, stages[-1].seed, track)
    after = fidelity_on(trained, scheduler, states, fidelity, track)
    if not math.isfinite(after.epsilon_error):
        raise TrainingError("what was trained predicts nothing finite; try a lower `learning_rate`.")
    better = improved(before, after, stages[-1]) if _is_judged(unet, lesson, stages) else None
    if better is False and not stages[-1].even_if_worse:
        return Finetuning(untrained, before, after, better, done, before)
    return Finetuning(trained, before, after, better, done, after)


def _is_judged(unet: SpikingUNet2DModel, lesson: Lesson, stages: Stages) -> bool:
    """Whether a training's aim is a small error to the network's own ANN, and nothing else."""
    other_aims = any(spec.denoise or spec.firing_rate or spec.learn == "all" for spec in stages)
    return not other_aims and digest(lesson.ann) == digest(unet.ann())


def training_folder(output: Path) -> Path:
    """Where checkpoints, logs and grids of samples are kept while ``output`` is in the making."""
    return work_beside(output, "training")


def finetune_to_folder(
    converted: Converted,
    output: Path,
    *,
    spec: TrainingSpec | Sequence[TrainingSpec] | None = None,
    lesson: Lesson | None = None,
    run: TrainingRun | None = None,
    writing: Writing | None = None,
    track: Track = silent,
) -> Finetuning | None:
    """`finetune` a converted model, and write a folder of the same kind; None in all processes but the main one.

    Args:
        output: the folder; checkpoints, logs and grids of samples go to `training_folder` (output).
        run: process and device, and where to go on from, or what to finish.
        writing: pictures, and whether a folder is replaced.

    Raises:
        OutputError: ``output`` exists, or an earlier training's checkpoints do and ``run`` begins at none.
        ScheduleError, ConditionError, SpecError, TeacherError, TrainingError, ResumeError, FoldedError: see `finetune`.
    """
    stages, writing = stages_of(spec), writing or Writing()
    require(not writing.folded, "folded", True, "false: a conversion alone is written so; `fold` folds the result")
    refuse_existing(output, writing.force, converted.folder)
    lesson = lesson_of(converted.unet, converted.scheduler, lesson, stages)
    if lesson.images is not None and converted.decoder is not None:
        raise TeacherError(f"data: {converted.name} draws latents; it learns on its own sampling states alone.")
    run = run or TrainingRun(accelerator_for(stages[0], training_folder(output)))
    run, checkpoint = dataclasses.replace(run, folder=training_folder(output)), run.checkpoint
    with reserved_by_main(output, run.accelerator):
        everywhere(lambda: _make_training_folder(training_folder(output), checkpoint), run.accelerator)
        stages, seed = until_finished(stages, run), stages[0].seed
        grids = _first_grids(converted, lesson, stages, run, writing, track)
        run = dataclasses.replace(run, look=_looking(converted, grids, seed, writing))
        found = finetune(converted.unet, converted.scheduler, spec=stages, lesson=lesson, run=run, track=track)
        if found is not None:
            after = "SNN before, handed out" if found.report is found.before else "SNN after"
            grids |= sample_grids({after: found.unet}, converted, writing, seed, track)
            with new_folder(output, writing.force, converted.folder) as folder:
                write_result(folder, _with_entries(converted, found, run), found.report, grids)
    return found


def _first_grids(
    converted: Converted, lesson: Lesson, stages: Stages, run: TrainingRun, writing: Writing, track: Track
) -> dict[str, Tensor]:
    """Images of teacher and untrained network, by title, in the main process."""
    if not run.accelerator.is_main_process:
        return {}
    networks = {"ANN": lesson.ann, "SNN before": converted.unet.with_spec(final_spec(converted.unet.spec, stages))}
    for network in networks.values():
        nn.Module.to(network, run.accelerator.device)
    return sample_grids(networks, converted, writing, stages[0].seed, track)


def _looking(converted: Converted, grids: Mapping[str, Tensor], seed: int, writing: Writing) -> Look:
    """Draws what the network draws now under what teacher and untrained network drew."""

    def look(done: int, network: SpikingUNet2DModel, folder: Path | None) -> None:
        if writing.samples != 0 and folder is not None:
            drawn = sample_grids({f"SNN, step {done}": network}, converted, writing, seed)
            with picture(folder / f"samples-{done:06d}.png") as file:
                save_grids(file, {**grids, **drawn})

    return look


def _with_entries(converted: Converted, found: Finetuning, run: TrainingRun) -> Converted:
    """An entry of provenance for each stage; nothing is measured between them."""
    shared = {
        "device": str(run.accelerator.device), "spiking": found.unet.spec.to_dict(),
        "handed_out": "before" if found.report is found.before else "after",
    }  # fmt: skip
    figures = [found.before.figures(), *[None] * (len(found.stages) - 1), found.report.figures()]
    entries = []
    for stage, (before, after) in zip(found.stages, pairwise(figures), strict=True):
        settings = dataclasses.asdict(stage.spec) | dict(stage.identity) | shared
        settings |= {"trained_steps": stage.steps, "seconds": round(stage.seconds, 1)}
        entries.append(entry("finetune", settings, before, after))
    return dataclasses.replace(converted, unet=found.unet, provenance=(*converted.provenance, *entries))


def _make_training_folder(working: Path, checkpoint: str | None) -> None:
    """Make the folder of a training, and see that what is in it and what is asked for agree."""
    refuse_file(working)
    if checkpoint is not None:
        find_checkpoint(working, checkpoint)
    elif checkpoints(working):
        raise OutputError(
            f"{working}: has checkpoints of an earlier training; go on with `resume` latest, end it with `finish` "
            "latest, or remove the folder."
        )
    make_folder(working)
