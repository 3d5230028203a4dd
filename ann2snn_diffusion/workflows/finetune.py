"""The use case: a converted model is trained, measured before and after, and written as a folder of the same kind."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from diffusers import UNet2DModel
from torch import nn

from ann2snn_diffusion.common.atomic_output import OutputError, new_file, new_folder, refuse_existing, refuse_file
from ann2snn_diffusion.common.digest import digest
from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.data.datasets import RealImages
from ann2snn_diffusion.evaluation.fidelity import measure_fidelity
from ann2snn_diffusion.evaluation.report import ConversionReport
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.reporting.image_grids import save_grids
from ann2snn_diffusion.training.checkpoint import checkpoints, find_checkpoint
from ann2snn_diffusion.training.loop import Watch, require_images, train
from ann2snn_diffusion.training.spec import TrainingSpec
from ann2snn_diffusion.workflows.result_folder import sample_grids, write_result

VOLATILE = (
    "checkpointing_steps", "checkpoints_total_limit", "save_images_steps", "dataloader_num_workers", "synchronous",
)  # fmt: skip
"""What may differ when a training is resumed."""


class TeacherError(A2SError):
    """An ANN that cannot teach this network."""


@dataclass(frozen=True)
class Finetuning:
    """A trained network's errors to its teacher, before and after."""

    before: ConversionReport
    after: ConversionReport
    steps: int
    seconds: float
    """Of training alone, over all runs that it took."""


def training_folder(output: Path) -> Path:
    """Where checkpoints, logs and grids of samples are kept while ``output`` is in the making."""
    return output.with_name(f"{output.name}-training")


def finetune_to_folder(
    converted: Converted,
    output: Path,
    spec: TrainingSpec,
    accelerator: Accelerator,
    teacher: UNet2DModel | None = None,
    images: RealImages | None = None,
    resume: str | None = None,
    force: bool = False,
    samples: int = 8,
    track: Track = silent,
    watch: Watch = lambda step, terms: None,
) -> Finetuning | None:
    """Train a converted model and write the folder; None in all processes but the main one.

    Args:
        teacher: by default the ANN that the model was converted from.
        images: learn on noisy images instead of the sampler's own states.
        resume: ``latest``, or a checkpoint of the same training.

    Raises:
        OutputError: ``output`` exists, or an earlier training's checkpoints do and ``resume`` is None.
        SpecError: ``synchronous``, and the network's coding is not rate.
        TeacherError: the teacher's images are of another shape.
        TrainingError, ResumeError: see `train`.
    """
    refuse_existing(output, force)
    require_images(spec, images)
    working = training_folder(output)
    refuse_file(working)
    checkpoint = None if resume is None else find_checkpoint(working, resume)
    if checkpoint is None and checkpoints(working):
        raise OutputError(
            f"{working}: has checkpoints of an earlier training; go on with --resume-from-checkpoint latest, "
            "or remove the folder."
        )
    unet = converted.unet
    if spec.learned_step_weights:
        unet = unet.with_spec(dataclasses.replace(unet.spec, learned_step_weights=True))
    result_spec = dataclasses.replace(unet.spec, schedule="synchronous") if spec.synchronous else unet.spec
    ann = teacher or unet.ann()
    require_teacher(unet, ann)
    run = {
        "model": digest(unet)[:16],
        "teacher": digest(ann)[:16],
        "data": "sampling states" if images is None else images.digest[:16],
        "processes": accelerator.num_processes,
        **{name: value for name, value in dataclasses.asdict(spec).items() if name not in VOLATILE},
    }
    nn.Module.to(unet, accelerator.device)
    nn.Module.to(ann, accelerator.device)
    try:
        working.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{working} cannot be created: {error.strerror or error}.") from error
    before, grids = None, {}
    if accelerator.is_main_process:
        untrained = unet.with_spec(result_spec)
        before = measure_fidelity(untrained, converted.scheduler, spec.seed, track)
        networks = {"ANN": ann, "SNN before": untrained}
        grids = sample_grids(networks, converted.scheduler, samples, spec.seed, track)
    accelerator.init_trackers("tensorboard")

    def look(step: int) -> None:
        drawn = sample_grids({f"SNN, step {step}": unet}, converted.scheduler, samples, spec.seed)
        with new_file(working / f"samples-{step:06d}.png") as file:
            save_grids(file, grids | drawn)

    train(
        unet, ann, converted.scheduler, spec, working, accelerator, run, images, checkpoint, watch,
        look if samples else lambda step: None,
    )  # fmt: skip
    accelerator.end_training()
    if before is None:
        return None
    trained = unet.with_spec(result_spec)
    after = measure_fidelity(trained, converted.scheduler, spec.seed, track)
    result = Finetuning(before, after, spec.steps, training_seconds(working))
    provenance = {
        "source": converted.name,
        "revision": converted.revision,
        "seed": spec.seed,
        "spiking": dict(trained.config["spiking"]),
        "training": run | {"seconds": round(result.seconds, 1), "device": str(accelerator.device)},
        "before": {name: getattr(before, name) for name in ("epsilon_error", "epsilon_error_low_noise", "firing_rate")},
    }
    grids |= sample_grids({"SNN after": trained}, converted.scheduler, samples, spec.seed, track)
    with new_folder(output, force) as folder:
        write_result(folder, trained, converted.scheduler, provenance, after, grids)
    return result


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


def training_seconds(working: Path) -> float:
    """Seconds that the steps took which led to the result, from loss.jsonl."""
    lines = [json.loads(line) for line in (working / "loss.jsonl").read_text().splitlines()]
    return sum({line["step"]: line["seconds"] for line in lines}.values())
