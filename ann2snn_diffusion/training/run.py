"""Who trains, and where what an interrupted training needs is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration

from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.spiking.fusing import problem_on
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.spec import TrainingSpec

Look = Callable[[int, SpikingUNet2DModel, Path | None], None]


@dataclass(frozen=True)
class TrainingRun:
    """One run of a training, of which others may follow.

    Attributes:
        accelerator: process, device and precision, as `accelerator_for` makes it.
        folder: for checkpoints, losses and logs; None: nothing is kept.
        resume: checkpoint to go on from: ``latest``, or a folder's path or name; None: start anew.
        finish: checkpoint that is the end of the training, told as for ``resume``; None: train all steps.
        look: called every ``save_images_steps`` with the steps done, the network as it would be the result now,
            and ``folder``.

    Raises:
        SpecError: both ``resume`` and ``finish``.
    """

    accelerator: Accelerator
    folder: Path | None = None
    resume: str | None = None
    finish: str | None = None
    look: Look = field(default=lambda done, network, folder: None)

    def __post_init__(self) -> None:
        require(self.finish is None or self.resume is None, "finish", self.finish, "none beside `resume`")

    @property
    def checkpoint(self) -> str | None:
        """Where the run begins: a checkpoint; None: at the first step."""
        return self.resume or self.finish


def accelerator_for(spec: TrainingSpec, folder: Path | None = None, device: str = "cpu") -> Accelerator:
    """Mixed precision and accumulation of ``spec``, TensorBoard logs in ``folder``/tensorboard, on ``device``.

    Several processes take a device each, whatever the number behind ``cuda:``.

    Raises:
        SpecError: neurons are to be ``fused``, and nothing can be compiled here.
    """
    problem = problem_on(torch.device(device)) if spec.fused else None
    require(problem is None, "fused", True, f"false: torch.compile does not work here ({problem})")
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision=spec.mixed_precision,
        gradient_accumulation_steps=spec.gradient_accumulation_steps,
        log_with=None if folder is None else "tensorboard",
        project_config=None if folder is None else ProjectConfiguration(str(folder), logging_dir=str(folder)),
    )
