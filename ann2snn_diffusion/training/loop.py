"""The training loop: surrogate-gradient BPTT of a spiking network toward its ANN, or on images."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.data.datasets import RealImages
from ann2snn_diffusion.diffusion.noisy_states import add_noise
from ann2snn_diffusion.spiking.modes import fused, fusing_pays
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training import rollout
from ann2snn_diffusion.training.checkpoint import (
    TrainingProgress,
    checkpoints,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
    set_aside_newer,
)
from ann2snn_diffusion.training.cuda_graph import differentiation
from ann2snn_diffusion.training.gradients import Differentiate
from ann2snn_diffusion.training.image_batches import image_batches
from ann2snn_diffusion.training.learner import Learner, averaged, prepared
from ann2snn_diffusion.training.run import TrainingRun
from ann2snn_diffusion.training.spec import TrainingSpec

LOG = logging.getLogger(__name__)


class TrainingError(A2SError):
    """A training that cannot go on."""


@dataclass(frozen=True)
class Lesson:
    """What a network learns from.

    Attributes:
        ann: the teacher.
        scheduler: whose noise levels the states have.
        images: learn on noisy images; None: on the sampler's own states.
    """

    ann: UNet2DModel
    scheduler: Any
    images: RealImages | None = None


def train(
    unet: SpikingUNet2DModel,
    lesson: Lesson,
    spec: TrainingSpec,
    run: TrainingRun,
    *,
    identity: Mapping[str, Any] | None = None,
    track: Track = silent,
) -> TrainingProgress:
    """Train ``unet`` in place; returns how far it came, over all runs that led to the result.

    A run that is to ``finish`` a checkpoint takes no step: the result is what training would hand out there.

    Args:
        identity: what the training is, JSON-ready; a resumed one must agree with it.

    Raises:
        SpecError: ``denoise`` without images.
        TrainingError: a loss or its gradient is not finite, or memory ran out.
        ResumeError, OutputError: see `checkpoint`.
    """
    require_images(spec, lesson.images)
    accelerator, folder = run.accelerator, run.folder
    lesson.ann.eval().requires_grad_(False)
    learner = prepared(unet, lesson.scheduler, spec, accelerator)
    progress = TrainingProgress(0, 0.0, None if lesson.images else _started(lesson, spec, accelerator))
    if run.checkpoint is not None:
        checkpoint = find_checkpoint(folder, run.checkpoint)
        progress = load_checkpoint(
            accelerator, checkpoint, learner.parts(accelerator), identity or {}, progress.rollout
        )
        learner.average.to(accelerator.device)
    if run.finish is None and folder is not None and accelerator.is_main_process:
        set_aside_newer(folder, progress.step)
    last = spec.steps if run.finish is None else progress.step
    batches = _image_batches(lesson, spec, accelerator, range(progress.step, last))
    differentiate = differentiation(learner, lesson.ann, spec, accelerator)
    advance = track("training", last)
    passes = spec.steps if progress.step < last else 0  # a run that takes no step compiles nothing
    fusing = fusing_pays(accelerator.device, passes) if spec.fused is None else spec.fused
    while progress.step < last:
        began = time.time()
        with explained(progress.step, folder), fused(unet) if fusing else nullcontext():
            progress, terms = _step(progress, learner, lesson, spec, run, batches, differentiate)
        seconds = time.time() - began
        progress = replace(progress, step=progress.step + 1, seconds=progress.seconds + seconds)
        log(run, progress.step, terms | {"learning_rate": float(learner.schedule.get_last_lr()[-1])}, seconds)
        advance(progress.step, terms)
        if folder and (progress.step % spec.checkpointing_steps == 0 or progress.step == spec.steps):
            parts = learner.parts(accelerator)
            save_checkpoint(accelerator, folder, progress, parts, identity or {}, spec.checkpoints_total_limit)
        pictured = spec.save_images_steps and progress.step % spec.save_images_steps == 0
        if pictured and accelerator.is_main_process:
            with averaged(unet, learner, spec.use_ema):
                run.look(progress.step, unet, folder)
    # Mixed precision wrapped its forward pass; what is handed out computes as the model that is loaded later.
    accelerator.unwrap_model(learner.network, keep_fp32_wrapper=False)
    if spec.use_ema:
        learner.average.copy_to(learner.parameters)
    unet.disable_gradient_checkpointing()
    unet.eval().requires_grad_(False)
    return progress


def _started(lesson: Lesson, spec: TrainingSpec, accelerator: Accelerator) -> rollout.Rollout:
    generator = stream("training start", spec.seed, accelerator.process_index)
    return rollout.start(
        lesson.ann, lesson.scheduler, spec.train_batch_size, spec.sampler_steps, spec.own_share, generator
    )


def _image_batches(lesson: Lesson, spec: TrainingSpec, accelerator: Accelerator, steps: range) -> Iterator[Tensor]:
    if lesson.images is None:
        return iter(())
    micro_steps = range(steps.start * spec.gradient_accumulation_steps, steps.stop * spec.gradient_accumulation_steps)
    return image_batches(
        lesson.images, spec.train_batch_size, spec.seed, accelerator.process_index, micro_steps,
        spec.dataloader_num_workers,
    )  # fmt: skip


def _step(
    progress: TrainingProgress, learner: Learner, lesson: Lesson, spec: TrainingSpec, run: TrainingRun,
    batches: Iterator[Tensor], differentiate: Differentiate,
) -> tuple[TrainingProgress, dict[str, float]]:  # fmt: skip
    """One optimiser step; images under way move on. Returns the mean of each loss term."""
    accelerator, micro_steps, states = run.accelerator, spec.gradient_accumulation_steps, progress.rollout
    sums: dict[str, float] = {}
    spent: list[tuple[Tensor, Tensor]] = []
    for micro in range(progress.step * micro_steps, (progress.step + 1) * micro_steps):
        generator = stream("training", spec.seed, accelerator.process_index, micro)
        batch = states or add_noise(next(batches), lesson.ann, lesson.scheduler, generator)
        with accelerator.accumulate(learner.network):
            found = differentiate(batch)
            _refuse_nan("loss", found.loss, progress.step, run)
            if accelerator.sync_gradients:
                norm: Any = accelerator.clip_grad_norm_(learner.parameters, spec.max_grad_norm)
                if accelerator.scaler is None:  # which leaves out such a step, and goes on at a smaller scale
                    _refuse_nan("gradient", norm, progress.step, run)
            learner.optimizer.step()
            learner.optimizer.zero_grad()
        if states is not None:
            states = rollout.advance(
                states, lesson.ann, lesson.scheduler, spec.sampler_steps, found.target, found.predicted, generator
            )
        for name, term in found.terms.items():
            sums[name] = sums.get(name, 0.0) + term.mean().item() / micro_steps
        if learner.budget:
            counted = learner.budget.counted(len(batch))
            spent.append((found.terms["energy"].clone(), batch.diffusion_timesteps[counted]))
    if learner.budget:
        gathered: Any = accelerator.gather(tuple(torch.cat(parts) for parts in zip(*spent, strict=True)))
        learner.budget.steer(*gathered)
        sums["energy_multiplier"] = learner.budget.multiplier
    learner.schedule.step()
    learner.average.step(learner.parameters)
    return replace(progress, rollout=states), sums


def require_images(spec: TrainingSpec, images: RealImages | None) -> None:
    """Refuse the DDPM loss where there is nothing to denoise.

    Raises:
        SpecError: ``denoise`` without images.
    """
    require(images is not None or not spec.denoise, "denoise", spec.denoise, "0 without `data`")


def log(run: TrainingRun, step: int, terms: dict[str, float], seconds: float) -> None:
    """One line in loss.jsonl, and a point in TensorBoard; a resumed training repeats what came after its checkpoint."""
    with logs(f"step {step}"):
        run.accelerator.log(terms, step=step)
        if run.folder is not None and run.accelerator.is_main_process:
            with (run.folder / "loss.jsonl").open("a") as lines:
                lines.write(json.dumps({"step": step, "seconds": round(seconds, 3), **terms}) + "\n")


@contextmanager
def logs(what: str) -> Iterator[None]:
    """Nothing reads logs to go on, and nothing is lost with them: where they cannot be written, a warning says so."""
    try:
        yield
    except OSError as error:
        LOG.warning("%s was not logged: %s", what, error)


def _refuse_nan(what: str, figure: Tensor, step: int, run: TrainingRun) -> None:
    if not torch.isfinite(run.accelerator.gather(figure.detach())).all():  # pyright: ignore
        kept = [] if run.folder is None else checkpoints(run.folder)
        raise TrainingError(
            f"step {step + 1}: the {what} is not finite. "
            f"{f'{kept[-1]} is the last good checkpoint' if kept else 'There is no checkpoint yet'}; "
            "try a lower `learning_rate`, or `mixed_precision` no or bf16."
        )


@contextmanager
def explained(step: int, folder: Path | None) -> Iterator[None]:
    """Say what helps where memory runs out."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" not in str(error) and "out of memory" not in str(error):
            raise
        raise TrainingError(
            f"step {step + 1}: out of memory. Use a smaller `train_batch_size` with `gradient_accumulation_steps`, "
            f"`gradient_checkpointing`, or `mixed_precision` bf16"
            f"{f'; checkpoints are in {folder}' if folder else ''}."
        ) from error
