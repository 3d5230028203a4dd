"""A training in stages: each begins with what the one before ended with, and keeps checkpoints of its own.

A stage whose last step has a checkpoint is done: a run that resumes enters it there, and leaves it without a step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from ann2snn_diffusion.common.atomic_output import make_folder
from ann2snn_diffusion.common.digest import digest
from ann2snn_diffusion.common.processes import everywhere
from ann2snn_diffusion.common.progress import Track
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.checkpoint import checkpoints, find_checkpoint
from ann2snn_diffusion.training.loop import Lesson, logs, train
from ann2snn_diffusion.training.run import TrainingRun, accelerator_for
from ann2snn_diffusion.training.spec import TrainingSpec
from ann2snn_diffusion.workflows.trainable import lesson_for, trained_spec

VOLATILE = (
    "checkpointing_steps", "checkpoints_total_limit", "save_images_steps", "dataloader_num_workers", "synchronous",
    "even_if_worse", "fused", "cuda_graph",
)  # fmt: skip
"""What may differ when a training is resumed."""
Stages = tuple[TrainingSpec, ...]


@dataclass(frozen=True)
class Stage:
    """A stage that has come to its end."""

    spec: TrainingSpec
    identity: Mapping[str, Any]
    """What the training was, JSON-ready."""
    steps: int
    """That were trained, over all runs; fewer than asked for, where a checkpoint was finished."""
    seconds: float
    """Of training alone, over all runs that it took."""


def stages_of(spec: TrainingSpec | Sequence[TrainingSpec] | None) -> Stages:
    """The stages that are asked for: one, several, or by default one of all defaults.

    Raises:
        SpecError: an empty sequence.
    """
    stages = (TrainingSpec(),) if spec is None else (spec,) if isinstance(spec, TrainingSpec) else tuple(spec)
    require(len(stages) > 0, "spec", spec, "one stage at the least")
    return stages


def stage_folders(folder: Path, stages: Stages) -> list[Path]:
    """Where the checkpoints and logs of each stage lie: the first's in ``folder``, the others' in stage-2, … in it."""
    return [folder, *(folder / f"stage-{number}" for number in range(2, len(stages) + 1))]


def all_checkpoints(folder: Path, stages: Stages) -> list[Path]:
    """All complete checkpoints of a training, oldest first."""
    return [found for place in stage_folders(folder, stages) for found in checkpoints(place)]


def beginning(stages: Stages, run: TrainingRun) -> tuple[int, str | None]:
    """The stage that ``run`` begins in, counted from 0, and the checkpoint's folder; None: it begins anew.

    Raises:
        ResumeError: there is no such checkpoint.
    """
    if run.checkpoint is None:
        return 0, None
    places = [] if run.folder is None else stage_folders(run.folder, stages)
    kept = [place for place in places if checkpoints(place)]
    newest = kept[-1] if kept and run.checkpoint == "latest" else run.folder
    checkpoint = find_checkpoint(newest, run.checkpoint)
    homes, home = [place.resolve() for place in places], checkpoint.resolve().parent
    return homes.index(home) if home in homes else 0, str(checkpoint)


def until_finished(stages: Stages, run: TrainingRun) -> Stages:
    """The stages that come to an end: a checkpoint that is to ``finish`` ends the last of them."""
    return stages if run.finish is None else stages[: beginning(stages, run)[0] + 1]


def lesson_of(unet: SpikingUNet2DModel, scheduler: Any, lesson: Lesson | None, stages: Stages) -> Lesson:
    """`lesson_for` the first stage, once it is sure that all can be carried out.

    Raises:
        FoldedError, ScheduleError, ConditionError, SpecError, TeacherError: see `lesson_for`.
    """
    lesson = lesson_for(unet, scheduler, lesson, stages[0])
    for one, following in pairwise(stages):
        unet = unet.with_spec(trained_spec(unet.spec, one))
        lesson_for(unet, scheduler, lesson, following)
    return lesson


def final_spec(spiking: SpikeSpec, stages: Stages) -> SpikeSpec:
    """How a network fires that went through all stages.

    Raises:
        SpecError: see `trained_spec`.
    """
    for stage in stages:
        spiking = trained_spec(spiking, stage)
    return spiking


def training_identity(
    unet: SpikingUNet2DModel, lesson: Lesson, spec: TrainingSpec, accelerator: Accelerator
) -> dict[str, Any]:
    """What a training is, JSON-ready: a run that resumes it must agree."""
    return {
        "model": digest(unet)[:16],
        "teacher": digest(lesson.ann)[:16],
        "data": "sampling states" if lesson.images is None else lesson.images.digest[:16],
        "processes": accelerator.num_processes,
        **{name: value for name, value in dataclasses.asdict(spec).items() if name not in VOLATILE},
    }


def train_stages(
    unet: SpikingUNet2DModel, lesson: Lesson, stages: Stages, run: TrainingRun, track: Track
) -> tuple[SpikingUNet2DModel, list[Stage]]:
    """What comes out of all stages; ``unet`` itself may be trained in place.

    Args:
        run: whose accelerator is that of the first stage.

    Raises:
        TrainingError, ResumeError, OutputError, SpecError: see `train`.
    """
    begun, checkpoint = beginning(stages, run)
    done: list[Stage] = []
    for number, spec in enumerate(stages):
        stage_run = _run_of(run, stages, number)
        if number < begun:
            stage_run = dataclasses.replace(stage_run, resume="latest")
        elif number == begun and run.finish is not None:
            stage_run = dataclasses.replace(stage_run, finish=checkpoint)
        elif number == begun:
            stage_run = dataclasses.replace(stage_run, resume=checkpoint)
        accelerator = stage_run.accelerator
        steps_learn = unet.spec.learned_step_weights or spec.learned_step_weights
        learning = unet.with_spec(dataclasses.replace(unet.spec, learned_step_weights=steps_learn))
        nn.Module.to(learning, accelerator.device)
        identity = training_identity(learning, lesson, spec, accelerator)
        accelerator.init_trackers("tensorboard")
        progress = train(learning, lesson, spec, stage_run, identity=identity, track=track)
        with logs("the end of training"):
            for tracker in accelerator.trackers:
                tracker.finish()
        unet = learning.with_spec(trained_spec(learning.spec, spec))
        for layer in unet.synapses().values():
            layer.round_correction()
        done.append(Stage(spec, identity, progress.step, progress.seconds))
    run.accelerator.state.destroy_process_group()
    return unet, done


def _run_of(run: TrainingRun, stages: Stages, number: int) -> TrainingRun:
    """The run of a stage, counted from 0, that starts anew."""
    run = dataclasses.replace(run, resume=None, finish=None)
    if number == 0:
        return run
    folder = run.folder and stage_folders(run.folder, stages)[number]
    device = str(run.accelerator.device)
    AcceleratorState._reset_state()  # which keeps one precision for a process; the last stage is done with it
    accelerator = accelerator_for(stages[number], folder, device)
    everywhere(lambda: folder and make_folder(folder), accelerator)
    return dataclasses.replace(run, accelerator=accelerator, folder=folder)
