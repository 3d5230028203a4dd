"""Whether a training can be done, before any work, and what its result fires like."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from diffusers import UNet2DModel

from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.diffusion.conditioning import refuse_conditional
from ann2snn_diffusion.diffusion.noise_schedule import require_betas
from ann2snn_diffusion.spiking.folding import require_ann
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.energy import budget_of
from ann2snn_diffusion.training.loop import Lesson, require_images
from ann2snn_diffusion.training.spec import TrainingSpec


class TeacherError(A2SError):
    """An ANN that cannot teach this network."""


def lesson_for(unet: SpikingUNet2DModel, scheduler: Any, lesson: Lesson | None, spec: TrainingSpec) -> Lesson:
    """``lesson``, by default the network's own ANN on its sampling states, once it is sure that it can be learned.

    Raises:
        FoldedError: the network is folded.
        ScheduleError: a scheduler without a β schedule.
        ConditionError: a network that takes a condition beside the noisy image.
        SpecError: ``synchronous``, and the network's coding is not rate; ``denoise`` without images; an ``energy`` that
            is out of reach.
        TeacherError: the teacher's images are of another shape.
    """
    require_ann(unet, "fine-tuning")
    require_betas(scheduler, "fine-tuning")
    refuse_conditional(unet, "fine-tuning")
    lesson = lesson or Lesson(unet.ann(), scheduler)
    require_images(spec, lesson.images)
    require_teacher(unet, lesson.ann)
    trained_spec(unet.spec, spec)
    budget_of(unet, scheduler, spec)
    return lesson


def require_teacher(unet: UNet2DModel, ann: UNet2DModel) -> None:
    """Refuse an ANN whose inputs or outputs are of another shape.

    Raises:
        TeacherError: names the first field that differs.
    """
    for field in ("in_channels", "out_channels", "sample_size", "num_class_embeds", "class_embed_type"):
        if unet.config[field] != ann.config[field]:
            raise TeacherError(
                f"teacher: {field} is {ann.config[field]!r}, the spiking U-Net has {unet.config[field]!r}."
            )


def trained_spec(spiking: SpikeSpec, spec: TrainingSpec) -> SpikeSpec:
    """How a network fires that was trained as ``spec`` says.

    Raises:
        SpecError: ``synchronous``, and the network's coding is not rate.
    """
    learned = spiking.learned_step_weights or spec.learned_step_weights
    schedule = "synchronous" if spec.synchronous else spiking.schedule
    dead_zone = bool(spiking.dead_zone) and schedule == "layerwise"
    return replace(spiking, learned_step_weights=learned, schedule=schedule, dead_zone=dead_zone)
