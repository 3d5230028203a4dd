from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training import gradients, learner
from ann2snn_diffusion.training.checkpoint import checkpoints
from ann2snn_diffusion.training.loop import TrainingError
from tests.ann2snn_diffusion.training.short_trainings import error, losses_of, pictures, run


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


def test_a_loss_that_is_not_finite_stops_at_its_step_and_names_the_last_good_checkpoint(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    distill = gradients.losses.distill

    def broken(predicted: Tensor, target: Tensor) -> Tensor:
        calls.append(1)
        return distill(predicted, target) * (float("nan") if len(calls) == 4 else 1)

    monkeypatch.setattr(gradients.losses, "distill", broken)
    with pytest.raises(TrainingError, match=r"step 4: the loss is not finite.*checkpoint-000002 is the last good"):
        run(make_snn(), tmp_path / "run")
    assert [place.name for place in checkpoints(tmp_path / "run")] == ["checkpoint-000002"]


def test_a_gradient_that_is_not_finite_stops_before_anything_learns_from_it(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distill = gradients.losses.distill

    def broken(predicted: Tensor, target: Tensor) -> Tensor:
        return distill(predicted, target) + (0 * predicted.sum()).sqrt()

    monkeypatch.setattr(gradients.losses, "distill", broken)
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

    monkeypatch.setattr(gradients, "loss_terms", full)
    with pytest.raises(TrainingError, match=r"step 1: out of memory.*`train_batch_size`.*`gradient_checkpointing`"):
        run(make_snn(), tmp_path / "run")


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


@pytest.mark.usefixtures("compiler")
@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"gradient_checkpointing": True}])
def test_a_fused_training_is_the_same_one(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path, changes: dict[str, Any]
) -> None:
    for name in ("fused", "plain"):
        snn = make_snn(coding="rate", schedule="synchronous")
        run(snn, tmp_path / name, fused=name == "fused", **changes)
    losses = [[line["distill"] for line in losses_of(tmp_path / name)] for name in ("fused", "plain")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
