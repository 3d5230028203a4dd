from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, UNet2DModel

from ann2snn_diffusion import CalibrationSpec, FidelitySpec, SpikeSpec, SpikingUNet2DModel, TrainingSpec, convert
from ann2snn_diffusion import finetune as finetune_network
from ann2snn_diffusion.training import gradients
from ann2snn_diffusion.workflows.clipping import tell_of_clip

QUICK = CalibrationSpec(energy=0, states=14, positions=64, sampler_steps=3)
SHORT = TrainingSpec(steps=2, train_batch_size=4, sampler_steps=4, lr_warmup_steps=1, even_if_worse=True)


@pytest.mark.parametrize(
    ("scheduler", "clip"),
    [
        (DDPMScheduler(), 1.0),
        (DDIMScheduler(clip_sample_range=2.0), 2.0),
        (DDPMScheduler(clip_sample=False), None),
        (DDPMScheduler(thresholding=True), None),
        (DDPMScheduler(prediction_type="v_prediction"), None),
        (EulerDiscreteScheduler(), None),
    ],
)
def test_a_network_knows_of_its_samplers_clip(unet: UNet2DModel, scheduler: Any, clip: float | None) -> None:
    network = SpikingUNet2DModel.from_unet(unet, SpikeSpec())
    tell_of_clip(network, scheduler)
    assert (None if network.overshoot is None else network.overshoot.clip.item()) == clip


def test_a_network_that_learned_its_variance_is_left_alone(make_unet: Callable[..., UNet2DModel]) -> None:
    network = SpikingUNet2DModel.from_unet(make_unet(out_channels=2), SpikeSpec())
    tell_of_clip(network, DDPMScheduler())
    assert network.overshoot is None


@pytest.mark.parametrize("energy", [0, 0.4])
def test_a_converted_network_is_settled(unet: UNet2DModel, scheduler: DDPMScheduler, energy: float) -> None:
    calibration = CalibrationSpec(energy=energy, states=14, positions=64, sampler_steps=3)
    network = convert(unet, scheduler, calibration=calibration, fidelity=FidelitySpec(1, 4)).unet
    assert network.overshoot is not None
    assert (network.overshoot.taken > 0).any()


def test_training_sees_all_of_epsilon_and_its_result_is_settled_anew(
    unet: UNet2DModel, scheduler: DDPMScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = convert(unet, scheduler, calibration=QUICK, fidelity=FidelitySpec(1, 4)).unet
    seen, train = [], gradients.loss_terms

    def watched(learner: Any, *arguments: Any) -> Any:
        seen.append(learner.network.overshoot.taken.clone())
        return train(learner, *arguments)

    monkeypatch.setattr(gradients, "loss_terms", watched)
    found = finetune_network(network, scheduler, spec=SHORT, fidelity=FidelitySpec(1, 4))
    assert found is not None
    assert found.unet.overshoot is not None
    assert network.overshoot is not None
    assert all((taken == 0).all() for taken in seen)
    assert (found.unet.overshoot.taken > 0).any()
    assert not torch.equal(found.unet.overshoot.taken, network.overshoot.taken)
