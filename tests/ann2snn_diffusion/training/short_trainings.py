"""Trainings of a few steps."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler
from torch import Tensor

from ann2snn_diffusion.common.progress import silent
from ann2snn_diffusion.data.datasets import RealImages
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.checkpoint import TrainingProgress
from ann2snn_diffusion.training.loop import Lesson, train
from ann2snn_diffusion.training.run import TrainingRun
from ann2snn_diffusion.training.spec import TrainingSpec

SHORT: dict[str, Any] = {
    "steps": 4, "train_batch_size": 4, "sampler_steps": 4, "lr_warmup_steps": 1, "checkpointing_steps": 2,
    "learning_rate": 1e-3, "save_images_steps": 0,
}  # fmt: skip


def run(snn: SpikingUNet2DModel, folder: Path, more: dict[str, Any] | None = None, **changes: Any) -> TrainingProgress:
    spec = TrainingSpec(**SHORT | changes)
    accelerator = Accelerator(
        cpu=True,
        mixed_precision=spec.mixed_precision,
        gradient_accumulation_steps=spec.gradient_accumulation_steps,
        step_scheduler_with_optimizer=False,
    )
    folder.mkdir(exist_ok=True)
    more = more or {}
    lesson = Lesson(snn.ann(), DDPMScheduler(), more.get("images"))
    training_run = TrainingRun(accelerator, folder, more.get("resume"), more.get("finish"))
    identity = {"model": "m", "steps": spec.steps}
    if "look" in more:
        training_run = replace(training_run, look=more["look"])
    return train(snn, lesson, spec, training_run, identity=identity, track=more.get("track", silent))


def error(snn: SpikingUNet2DModel) -> float:
    generator = torch.Generator().manual_seed(9)
    states, timesteps = torch.randn(64, 1, 8, 8, generator=generator), torch.randint(1000, (64,), generator=generator)
    with torch.no_grad():
        with analog(snn):
            target = snn(states, timesteps).sample
        return (snn(states, timesteps).sample - target).square().mean().item()


def losses_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "loss.jsonl").read_text().splitlines()]


def pictures() -> RealImages:
    def read(index: int) -> Tensor:
        return torch.randint(256, (1, 8, 8), generator=torch.Generator().manual_seed(index)).byte().expand(3, -1, -1)

    return RealImages("pictures", "as they are", "digest", 20, read)
