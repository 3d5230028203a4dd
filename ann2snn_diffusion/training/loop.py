"""The training loop: surrogate-gradient BPTT of a spiking network toward its ANN, or on images."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import UNet2DModel
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.data.datasets import RealImages
from ann2snn_diffusion.spiking.unet import OWN_PARAMETERS, SpikingUNet2DModel
from ann2snn_diffusion.training import losses, rollout
from ann2snn_diffusion.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from ann2snn_diffusion.training.spec import TrainingSpec
from ann2snn_diffusion.training.states import NoisyImages, TrainingStates, add_noise, image_batches

SMALLEST_THRESHOLD = 1e-6
BEFORE_ALL_STEPS = 2**32 - 1
"""In place of a step's number, for the randomness that a rollout starts with."""


class TrainingError(A2SError):
    """A training that cannot go on."""


Watch = Callable[[int, dict[str, float]], None]
"""Called after every step with its number and its losses."""


def learnable(unet: SpikingUNet2DModel, learn: str) -> list[nn.Parameter]:
    """Set which parameters learn, and return them: an ANN weight with a correction beside it never does."""
    corrected = {name.replace("_correction", "") for name, _ in unet.named_parameters() if name.endswith("_correction")}
    for name, parameter in unet.named_parameters():
        own = name.endswith(OWN_PARAMETERS)
        parameter.requires_grad_(own or (learn == "all" and name not in corrected))
    return [parameter for parameter in unet.parameters() if parameter.requires_grad]


def parameter_groups(unet: SpikingUNet2DModel, learning_rate: float) -> list[dict[str, Any]]:
    """Thresholds and offsets, whose sizes differ between sites, move in proportion to their site's thresholds."""
    groups = [
        {"params": [neuron.threshold, neuron.offset], "lr": learning_rate * neuron.threshold.mean().item()}
        for neuron in unet.neurons().values()
    ]
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    rest = [part for part in unet.parameters() if part.requires_grad and id(part) not in grouped]
    return [*groups, {"params": rest, "lr": learning_rate}]


@torch.no_grad()
def keep_in_range(unet: SpikingUNet2DModel) -> None:
    """Thresholds stay above 0, leaks in (0, 1]."""
    for neuron in unet.neurons().values():
        neuron.threshold.clamp_(min=SMALLEST_THRESHOLD)
        if neuron.leak is not None:
            neuron.leak.clamp_(SMALLEST_THRESHOLD, 1)


def loss_terms(
    unet: nn.Module, ann: UNet2DModel, batch: TrainingStates, spec: TrainingSpec, accelerator: Accelerator
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """All losses that have a weight, and what SNN and ANN predicted, [B, C, H, W]."""
    student: Any = accelerator.unwrap_model(unet)
    arguments = batch.states, batch.diffusion_timesteps, batch.class_labels
    labelled = spec.distill or spec.blockwise or not isinstance(batch, NoisyImages)
    watched = losses.block_outputs(ann) if spec.blockwise else nullcontext({})
    with torch.no_grad(), accelerator.autocast(), watched as expected:
        target = ann(*arguments).sample.float() if labelled else batch.states
    with (
        losses.block_outputs(student) if spec.blockwise else nullcontext({}) as found,
        losses.firing_rates(student.neurons()) if spec.firing_rate else nullcontext({}) as rates,
    ):
        predicted = unet(*arguments).sample
    terms = {}
    if spec.distill:
        terms["distill"] = losses.distill(predicted, target)
    if spec.blockwise:
        terms["blockwise"] = losses.blockwise(found, expected)
    if spec.denoise and isinstance(batch, NoisyImages):
        terms["denoise"] = losses.denoise(predicted, batch.target)
    if spec.firing_rate:
        terms["firing_rate"] = torch.stack(list(rates.values())).mean()
    return terms, predicted.detach().float(), target


def train(
    unet: SpikingUNet2DModel,
    ann: UNet2DModel,
    scheduler: Any,
    spec: TrainingSpec,
    folder: Path,
    accelerator: Accelerator,
    run: dict[str, Any],
    images: RealImages | None = None,
    resume: Path | None = None,
    watch: Watch = lambda step, terms: None,
    look: Callable[[int], None] = lambda step: None,
) -> None:
    """Train ``unet`` in place, toward ``ann``; states are the sampler's own, or noisy ``images``.

    Args:
        folder: where checkpoints and loss.jsonl are kept.
        run: what the training is, JSON-ready; a resumed one must agree with it.
        resume: checkpoint to go on from.
        look: called every ``save_images_steps`` while ``unet`` has the weights that would be the result.

    Raises:
        SpecError: ``denoise`` without images.
        TrainingError: a loss is not finite, or memory ran out.
        ResumeError, OutputError: see `checkpoint`.
    """
    require_images(spec, images)
    if spec.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    parameters = learnable(unet.train(), spec.learn)
    ann.eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(parameter_groups(unet, spec.learning_rate), betas=(0.9, 0.99), weight_decay=0)
    optimizer.register_step_post_hook(lambda *_: keep_in_range(unet))
    schedule = get_scheduler(
        spec.lr_scheduler, optimizer, num_warmup_steps=spec.lr_warmup_steps, num_training_steps=spec.steps
    )
    ema = EMAModel(parameters, decay=spec.ema_max_decay, use_ema_warmup=True, inv_gamma=1, power=3 / 4)
    network, prepared = accelerator.prepare(unet, optimizer)
    ema.to(accelerator.device)
    accelerator.register_for_checkpointing(ema, schedule)

    process, micro_steps = accelerator.process_index, spec.gradient_accumulation_steps
    states: rollout.Rollout | None = None
    if images is None:
        generator = stream(spec.seed, process, BEFORE_ALL_STEPS)
        states = rollout.start(ann, scheduler, spec.train_batch_size, spec.sampler_steps, spec.own_share, generator)
    done = 0
    if resume is not None:
        done, states = load_checkpoint(accelerator, resume, run, states)
    batches: Iterator[Tensor] = iter(())
    if images is not None:
        batches = image_batches(
            images, spec.train_batch_size, len(images), spec.seed, process, done * micro_steps,
            spec.steps * micro_steps, spec.dataloader_num_workers,
        )  # fmt: skip

    for step in range(done, spec.steps):
        began = time.time()
        sums: dict[str, float] = {}
        for micro in range(micro_steps):
            generator = stream(spec.seed, process, step * micro_steps + micro)
            batch = states or add_noise(next(batches), ann, scheduler, generator)
            with explained(step, folder), accelerator.accumulate(network):
                terms, predicted, target = loss_terms(network, ann, batch, spec, accelerator)
                loss = torch.stack([getattr(spec, name) * term for name, term in terms.items()]).sum()
                _refuse_nan(accelerator, loss, step, folder)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(parameters, spec.max_grad_norm)
                prepared.step()
                prepared.zero_grad()
            if states is not None:
                states = rollout.advance(states, ann, scheduler, spec.sampler_steps, target, predicted, generator)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.item() / micro_steps
        schedule.step()
        ema.step(parameters)
        rate = {"learning_rate": float(schedule.get_last_lr()[-1])}
        log(accelerator, folder, step + 1, sums | rate, time.time() - began)
        watch(step + 1, sums)
        if (step + 1) % spec.checkpointing_steps == 0 or step + 1 == spec.steps:
            save_checkpoint(accelerator, folder, step + 1, run, states, spec.checkpoints_total_limit)
        if spec.save_images_steps and (step + 1) % spec.save_images_steps == 0 and accelerator.is_main_process:
            with averaged(unet, ema, parameters, spec.use_ema):
                look(step + 1)
    # Mixed precision wrapped its forward pass; what is handed out computes as the model that is loaded later.
    accelerator.unwrap_model(network, keep_fp32_wrapper=False)
    if spec.use_ema:
        ema.copy_to(parameters)
    unet.disable_gradient_checkpointing()
    unet.eval().requires_grad_(False)


def require_images(spec: TrainingSpec, images: RealImages | None) -> None:
    """Refuse the DDPM loss where there is nothing to denoise.

    Raises:
        SpecError: ``denoise`` without images.
    """
    require(images is not None or not spec.denoise, "denoise", spec.denoise, "0 without --data")


def log(accelerator: Accelerator, folder: Path, step: int, terms: dict[str, float], seconds: float) -> None:
    """One line in loss.jsonl, and a point in TensorBoard; a resumed training repeats what came after its checkpoint."""
    accelerator.log(terms, step=step)
    if accelerator.is_main_process:
        with (folder / "loss.jsonl").open("a") as lines:
            lines.write(json.dumps({"step": step, "seconds": round(seconds, 3), **terms}) + "\n")


@contextmanager
def averaged(unet: nn.Module, ema: EMAModel, parameters: list[nn.Parameter], use_ema: bool) -> Iterator[None]:
    """``unet`` as it would be handed out now, inside the ``with`` block."""
    ema.store(parameters)
    if use_ema:
        ema.copy_to(parameters)
    unet.eval()
    yield
    ema.restore(parameters)
    unet.train()


def _refuse_nan(accelerator: Accelerator, loss: Tensor, step: int, folder: Path) -> None:
    if not torch.isfinite(accelerator.gather(loss.detach())).all():  # pyright: ignore
        kept = checkpoints(folder)
        raise TrainingError(
            f"step {step + 1}: the loss is not finite. "
            f"{f'{kept[-1]} is the last good checkpoint' if kept else 'There is no checkpoint yet'}; "
            "try a lower --learning-rate, or --mixed-precision no or bf16."
        )


@contextmanager
def explained(step: int, folder: Path) -> Iterator[None]:
    """Say what helps where memory runs out."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" not in str(error) and "out of memory" not in str(error):
            raise
        raise TrainingError(
            f"step {step + 1}: out of memory. Use a smaller --train-batch-size with --gradient-accumulation-steps, "
            f"--gradient-checkpointing, or --mixed-precision bf16; checkpoints are in {folder}."
        ) from error
