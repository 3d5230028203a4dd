import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.common.progress import Advance, idle, silent
from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.checkpoint import ResumeError, checkpoints
from ann2snn_diffusion.training.run import TrainingRun, accelerator_for
from ann2snn_diffusion.training.spec import TrainingSpec
from ann2snn_diffusion.workflows.convert import convert
from ann2snn_diffusion.workflows.finetune import Finetuning, finetune
from tests.conftest import forget_processes

FEW = FidelitySpec(2, 4)
LAYERWISE = TrainingSpec(
    steps=2, train_batch_size=4, sampler_steps=4, lr_warmup_steps=1, checkpointing_steps=1, save_images_steps=0,
    even_if_worse=True, mixed_precision="bf16", synchronous=True,
)  # fmt: skip
TICKING = replace(LAYERWISE, steps=3, train_batch_size=2, mixed_precision="no", synchronous=False, seed=1)
STAGES = (LAYERWISE, TICKING)


Train = Callable[..., Finetuning]


@pytest.fixture
def train(unet: UNet2DModel, scheduler: DDPMScheduler) -> Train:
    spec = SpikeSpec(segments=(0,), time_steps=2, coding="rate")
    quick = CalibrationSpec(energy=0, states=14, positions=64, sampler_steps=3)
    snn = convert(unet, scheduler, spec=spec, calibration=quick, fidelity=FEW).unet

    def run(
        spec: Any, folder: Path | None = None, start: SpikingUNet2DModel = snn, track: Any = silent, **begin: Any
    ) -> Finetuning:
        forget_processes()
        if folder is not None:
            folder.mkdir(exist_ok=True)
        first = spec[0] if isinstance(spec, tuple) else spec
        training_run = TrainingRun(accelerator_for(first, folder), folder, **begin)
        found = finetune(start, scheduler, spec=spec, run=training_run, fidelity=FEW, track=track)
        assert found is not None
        return found

    return run


def same(one: Finetuning, other: Finetuning) -> bool:
    parts = other.unet.state_dict()
    return one.unet.spec == other.unet.spec and all(
        torch.equal(part, parts[name]) for name, part in one.unet.state_dict().items()
    )


def steps(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "loss.jsonl").read_text().splitlines()]


def cut(stage: int, after: int) -> Any:
    """A `Track` by which Ctrl-C comes in a stage of training, after so many steps."""
    trainings: list[str] = []

    def track(what: str, count: int) -> Advance:
        if what != "training":
            return idle
        trainings.append(what)
        number = len(trainings)

        def advance(done: int | None = None, figures: Any = None) -> None:
            if number == stage and done == after:
                raise KeyboardInterrupt

        return advance

    return track


def test_stages_are_trainings_one_after_the_other_to_the_bit(train: Train, tmp_path: Path) -> None:
    staged = train(STAGES, tmp_path / "staged")
    first = train(LAYERWISE)
    second = train(TICKING, start=first.unet)
    assert staged.unet.spec.schedule == "synchronous"
    assert same(staged, second)
    assert staged.before.epsilon_error == first.before.epsilon_error
    assert staged.after.epsilon_error > 0
    assert [(stage.spec, stage.steps) for stage in staged.stages] == [(LAYERWISE, 2), (TICKING, 3)]
    assert steps(tmp_path / "staged") == [1, 2]
    assert steps(tmp_path / "staged" / "stage-2") == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "after", "first", "second"),
    [(1, 2, [1, 2, 2], [1, 2, 3]), (2, 1, [1, 2], [1, 1, 2, 3]), (2, 2, [1, 2], [1, 2, 2, 3])],
)
def test_cut_in_any_stage_it_goes_on_there_and_repeats_none_that_is_done(
    train: Train, tmp_path: Path, stage: int, after: int, first: list[int], second: list[int]
) -> None:
    whole, folder = train(STAGES), tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        train(STAGES, folder, track=cut(stage, after))
    assert same(train(STAGES, folder, resume="latest"), whole)
    assert (steps(folder), steps(folder / "stage-2")) == (first, second)


@pytest.mark.slow
def test_a_checkpoint_of_any_stage_is_resumed_or_finished(train: Train, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    whole = train(STAGES, folder)
    kept = [checkpoints(folder), checkpoints(folder / "stage-2")]
    assert same(train(STAGES, folder, finish="latest"), whole)
    earlier = train(STAGES, folder, finish="stage-2/checkpoint-000002")
    assert [stage.steps for stage in earlier.stages] == [2, 2]
    assert not same(earlier, whole)
    only = train(STAGES, folder, finish=str(folder / "checkpoint-000002"))
    assert same(only, train(LAYERWISE))
    assert [stage.spec for stage in only.stages] == [LAYERWISE]
    assert kept == [checkpoints(folder), checkpoints(folder / "stage-2")]
    assert same(train(STAGES, folder, resume="checkpoint-000001"), whole)
    assert steps(folder / "stage-2") == [1, 2, 3, 1, 2, 3]
    with pytest.raises(ResumeError, match="is of another training: seed was 1 and is 2"):
        train((LAYERWISE, replace(TICKING, seed=2)), folder, resume="latest")


def test_the_last_stage_is_checked_before_the_first_begins(train: Train, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"energy = 0\.5: expected none beside the synchronous schedule"):
        train((LAYERWISE, replace(TICKING, energy=0.5)), tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())
    with pytest.raises(SpecError, match="one stage at the least"):
        finetune(None, None, spec=())  # pyright: ignore[reportArgumentType]
