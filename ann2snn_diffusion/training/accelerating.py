"""An Accelerator as a training wants it."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration

from ann2snn_diffusion.training.spec import TrainingSpec


def accelerator_for(spec: TrainingSpec, folder: Path, device: str) -> Accelerator:
    """Mixed precision and accumulation of ``spec``, TensorBoard logs in ``folder``/tensorboard, on ``device``.

    Several processes take a device each, whatever the number behind ``cuda:``.
    """
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision=spec.mixed_precision,
        gradient_accumulation_steps=spec.gradient_accumulation_steps,
        log_with="tensorboard",
        project_config=ProjectConfiguration(project_dir=str(folder), logging_dir=str(folder)),
    )
