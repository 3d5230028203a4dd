import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.atomic_output import OutputError
from ann2snn_diffusion.common.progress import silent
from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.data.datasets import RealImages
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel, analog
from ann2snn_diffusion.training import learner, loop
from ann2snn_diffusion.training.checkpoint import ResumeError, TrainingProgress, checkpoints, find_checkpoint
from ann2snn_diffusion.training.loop import Lesson, TrainingError, train
from ann2snn_diffusion.training.run import TrainingRun
from ann2snn_diffusion.training.spec import TrainingSpec
from ann2snn_diffusion.workflows.convert import convert

QUICK = CalibrationSpec(energy=0, states=4, positions=64, sampler_steps=2)
SHORT: dict[str, Any] = {
    "steps": 4, "train_batch_size": 4, "sampler_steps": 4, "lr_warmup_steps": 1, "checkpointing_steps": 2,
    "learning_rate": 1e-3, "save_images_steps": 0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    yield
    for state in (AcceleratorState, PartialState, GradientState):
        state._reset_state()


@pytest.fixture
def make_snn(unet: UNet2DModel, scheduler: DDPMScheduler) -> Callable[..., SpikingUNet2DModel]:
    def make(**spec: Any) -> SpikingUNet2DModel:
        return convert(
            unet, scheduler, spec=SpikeSpec(**{"segments": (0,), "time_steps": 2} | spec), calibration=QUICK
        ).unet

    return make


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "changes"),
    [
        ({}, {}),
        ({}, {"gradient_checkpointing": True}),
        ({}, {"gradient_checkpointing": True, "firing_rate": 0.01}),
        ({"coding": "rate", "schedule": "synchronous"}, {}),
        ({"coding": "rate", "schedule": "synchronous", "leak": 0.9, "learned_step_weights": True}, {}),
    ],
)
def test_training_brings_the_network_closer_to_its_ann_which_stays(
    make_snn: Callable[..., SpikingUNet2DModel],
    unet: UNet2DModel,
    tmp_path: Path,
    spec: dict[str, Any],
    changes: dict[str, Any],
) -> None:
    snn = make_snn(**spec)
    before = error(snn)
    run(snn, tmp_path / "run", steps=40, train_batch_size=16, checkpointing_steps=40, **changes)
    assert error(snn) < 0.9 * before
    assert all(torch.equal(one, other) for one, other in zip(snn.ann().parameters(), unet.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in snn.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["layerwise", "synchronous"])
def test_blockwise_brings_the_outputs_of_blocks_closer(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path, schedule: str
) -> None:
    snn = make_snn(coding="rate", schedule=schedule)
    spec = {"steps": 60, "train_batch_size": 16, "learning_rate": 2e-3, "blockwise": 1.0, "distill": 0.0}
    run(snn, tmp_path / "run", checkpointing_steps=60, **spec)
    losses = [line["blockwise"] for line in losses_of(tmp_path / "run")]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_leak_and_amplitudes_learn(make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path) -> None:
    snn = make_snn(coding="rate", schedule="synchronous", leak=0.9, learned_step_weights=True)
    run(snn, tmp_path / "run")
    neurons = snn.neurons().values()
    assert all(neuron.leak is not None and neuron.amplitudes is not None for neuron in neurons)
    assert any(neuron.leak.item() != pytest.approx(0.9, abs=1e-6) for neuron in neurons if neuron.leak is not None)
    assert any((neuron.amplitudes != 1).any() for neuron in neurons if neuron.amplitudes is not None)


def test_thresholds_and_leaks_stay_in_range_whatever_the_learning_rate(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path
) -> None:
    snn = make_snn(coding="rate", schedule="synchronous")
    run(snn, tmp_path / "run", learning_rate=3.0, use_ema=False)
    for neuron in snn.neurons().values():
        assert (neuron.threshold > 0).all()
        assert neuron.leak is not None
        assert 0 < neuron.leak.item() <= 1


def test_resumed_from_an_older_checkpoint_amid_torn_logs_it_ends_as_it_did(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path
) -> None:
    whole, again = make_snn(), make_snn()
    run(whole, tmp_path / "run")
    (tmp_path / "run" / "loss.jsonl").write_bytes(b'{"step": 1, "dist\n\n\xff\x00garbage\n')
    run(again, tmp_path / "run", {"resume": "checkpoint-000002"})
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), again.parameters(), strict=True))
    assert [place.name for place in checkpoints(tmp_path / "run")] == ["checkpoint-000002", "checkpoint-000004"]
    (tmp_path / "run" / "loss.jsonl").unlink()
    (tmp_path / "run" / "loss.jsonl").mkdir()
    run(make_snn(), tmp_path / "run", {"resume": "checkpoint-000002"})


@pytest.mark.parametrize("use_ema", [True, False])
def test_a_finished_checkpoint_is_what_training_would_have_handed_out_there_and_may_still_be_resumed(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path, use_ema: bool
) -> None:
    seen: dict[int, dict[str, Tensor]] = {}

    def look(done: int, network: SpikingUNet2DModel, _: Path | None) -> None:
        seen[done] = {name: part.clone() for name, part in network.state_dict().items()}

    whole, folder = make_snn(), tmp_path / "run"
    run(whole, folder, {"look": look}, use_ema=use_ema, save_images_steps=2)
    log = (folder / "loss.jsonl").read_text()
    for checkpoint, step in (("checkpoint-000002", 2), ("latest", 4)):
        finished = make_snn()
        done = run(finished, folder, {"finish": checkpoint}, use_ema=use_ema)
        assert done.step == step
        assert done.seconds > 0
        assert all(torch.equal(part, seen[step][name]) for name, part in finished.state_dict().items())
        assert not finished.training
        assert not any(parameter.requires_grad for parameter in finished.parameters())
    assert (folder / "loss.jsonl").read_text() == log
    assert [place.name for place in checkpoints(folder)] == ["checkpoint-000002", "checkpoint-000004"]
    assert not all(torch.equal(seen[2][name], part) for name, part in whole.state_dict().items())


@pytest.mark.parametrize(("data", "changes"), [(False, {}), (True, {}), (False, {"energy": 0.2})])
def test_a_resumed_training_is_bitwise_one_that_never_stopped(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path, data: bool, changes: dict[str, Any]
) -> None:
    more: dict[str, Any] = {"images": pictures()} if data else {}
    whole = make_snn()
    run(whole, tmp_path / "whole", more, **changes)

    def stop(done: int | None = None, figures: Any = None) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_snn(), tmp_path / "stopped", more | {"track": lambda stage, steps: stop}, **changes)
    resumed = make_snn()
    run(resumed, tmp_path / "stopped", more | {"resume": "latest"}, **changes)
    for (name, one), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert [line["step"] for line in losses_of(tmp_path / "stopped")] == [1, 2, 3, 3, 4]
    last, expected = losses_of(tmp_path / "stopped")[-1], losses_of(tmp_path / "whole")[-1]
    assert last | {"seconds": 0} == expected | {"seconds": 0}


def test_only_the_newest_checkpoints_are_kept(make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path) -> None:
    run(make_snn(), tmp_path / "run", checkpointing_steps=1, checkpoints_total_limit=2)
    assert [place.name for place in checkpoints(tmp_path / "run")] == ["checkpoint-000003", "checkpoint-000004"]
    assert sorted(place.name for place in (tmp_path / "run").iterdir()) == [
        "checkpoint-000003", "checkpoint-000004", "loss.jsonl",
    ]  # fmt: skip


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_refused(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path
) -> None:
    run(make_snn(), tmp_path / "run")
    checkpoint = checkpoints(tmp_path / "run")[-1]
    with pytest.raises(ResumeError, match=r"another training: steps was 4 and is 6"):
        run(make_snn(), tmp_path / "run", {"resume": str(checkpoint)}, steps=6)
    weights = checkpoint / "state.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ResumeError, match=r"damaged.*resume from another"):
        run(make_snn(), tmp_path / "run", {"resume": str(checkpoint)})


def test_a_checkpoint_cut_short_is_not_found(make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path) -> None:
    def cut(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ann2snn_diffusion.training.checkpoint.save_file", cut)
        with pytest.raises(OutputError, match=r"no checkpoint could be written at step 2.*No space left"):
            run(make_snn(), tmp_path / "run")
    assert any((tmp_path / "run").iterdir())
    with pytest.raises(ResumeError, match="no checkpoint to resume from"):
        find_checkpoint(tmp_path / "run", "latest")
    run(make_snn(), tmp_path / "run")
    assert len(checkpoints(tmp_path / "run")) == 2


def test_a_loss_that_is_not_finite_stops_at_its_step_and_names_the_last_good_checkpoint(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    distill = loop.losses.distill

    def broken(predicted: Tensor, target: Tensor) -> Tensor:
        calls.append(1)
        return distill(predicted, target) * (float("nan") if len(calls) == 4 else 1)

    monkeypatch.setattr(loop.losses, "distill", broken)
    with pytest.raises(TrainingError, match=r"step 4: the loss is not finite.*checkpoint-000002 is the last good"):
        run(make_snn(), tmp_path / "run")
    assert [place.name for place in checkpoints(tmp_path / "run")] == ["checkpoint-000002"]


def test_a_gradient_that_is_not_finite_stops_before_anything_learns_from_it(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distill = loop.losses.distill

    def broken(predicted: Tensor, target: Tensor) -> Tensor:
        return distill(predicted, target) + (0 * predicted.sum()).sqrt()

    monkeypatch.setattr(loop.losses, "distill", broken)
    snn = make_snn()
    with pytest.raises(TrainingError, match=r"step 1: the gradient is not finite. There is no checkpoint yet"):
        run(snn, tmp_path / "run", checkpointing_steps=1)
    assert all(torch.isfinite(parameter).all() for parameter in snn.parameters())
    assert not checkpoints(tmp_path / "run")


@pytest.mark.parametrize("message", ["CUDA out of memory", "DefaultCPUAllocator: can't allocate memory"])
def test_running_out_of_memory_says_what_helps(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    def full(*_: Any) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(loop, "loss_terms", full)
    with pytest.raises(TrainingError, match=r"step 1: out of memory.*`train_batch_size`.*`gradient_checkpointing`"):
        run(make_snn(), tmp_path / "run")


def pictures() -> RealImages:
    def read(index: int) -> Tensor:
        return torch.randint(256, (1, 8, 8), generator=torch.Generator().manual_seed(index)).byte().expand(3, -1, -1)

    return RealImages("pictures", "as they are", "digest", 20, read)


def test_denoising_learns_from_images_alone_and_all_parameters_may(
    make_snn: Callable[..., SpikingUNet2DModel], unet: UNet2DModel, tmp_path: Path
) -> None:
    snn = make_snn()
    run(
        snn, tmp_path / "run", {"images": pictures()},
        steps=30, train_batch_size=16, distill=0.0, denoise=1.0, learn="all", checkpointing_steps=30,
    )  # fmt: skip
    found = [line["denoise"] for line in losses_of(tmp_path / "run")]
    assert sum(found[-5:]) < 0.9 * sum(found[:5])
    assert not torch.equal(snn.conv_in.weight, unet.conv_in.weight)
    assert torch.equal(snn.conv_out.weight, unet.conv_out.weight)  # its correction learns instead


def test_denoising_without_images_is_refused(make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"denoise = 1.0: expected 0 without `data`"):
        run(make_snn(), tmp_path / "run", denoise=1.0)


def test_a_firing_rate_penalty_saves_spikes(make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path) -> None:
    run(make_snn(), tmp_path / "run", steps=30, firing_rate=20.0, checkpointing_steps=30)
    rates = [line["firing_rate"] for line in losses_of(tmp_path / "run")]
    assert rates[-1] < 0.95 * rates[0]


def test_gradient_accumulation_makes_one_step_of_several_batches(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    monkeypatch.setattr(learner, "keep_in_range", lambda unet: steps.append(1))
    run(make_snn(), tmp_path / "run", steps=3, gradient_accumulation_steps=4)
    assert len(steps) == 3
    assert [line["step"] for line in losses_of(tmp_path / "run")] == [1, 2, 3]


def test_mixed_precision_trains_in_bfloat16_and_keeps_float32_weights(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path
) -> None:
    snn = make_snn()
    before = error(snn)
    run(snn, tmp_path / "run", steps=40, train_batch_size=16, mixed_precision="bf16", checkpointing_steps=40)
    assert error(snn) < before
    # What is handed out no longer computes in bfloat16.
    snn.save_pretrained(tmp_path / "kept")
    again = SpikingUNet2DModel.from_pretrained(tmp_path / "kept")
    state, timestep = torch.randn(2, 1, 8, 8), torch.tensor([5, 500])
    with torch.no_grad():
        assert torch.equal(snn(state, timestep).sample, again(state, timestep).sample)
    assert {parameter.dtype for parameter in snn.parameters()} == {torch.float32}
