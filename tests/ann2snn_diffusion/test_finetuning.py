from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.calibrate import CalibrationSpec
from ann2snn_diffusion.conversion import convert
from ann2snn_diffusion.finetuning import training_seconds, with_learned_step_weights
from ann2snn_diffusion.spec import SpikeSpec
from ann2snn_diffusion.unet import SpikingUNet2DModel

QUICK = CalibrationSpec(states=28, positions=64, sampler_steps=3)


@pytest.mark.parametrize(
    "spec", [SpikeSpec(), SpikeSpec(coding="rate", schedule="synchronous", time_steps=2)], ids=["radix", "rate"]
)
def test_amplitudes_start_as_the_step_weights_and_are_saved(
    unet: UNet2DModel, scheduler: DDPMScheduler, tmp_path: Path, spec: SpikeSpec
) -> None:
    snn = convert(unet, scheduler, spec, QUICK).unet
    learning = with_learned_step_weights(snn)
    state, timestep = torch.randn(3, 1, 8, 8), torch.tensor([5, 300, 950])
    with torch.no_grad():
        torch.testing.assert_close(learning(state, timestep).sample, snn(state, timestep).sample, atol=1e-4, rtol=1e-4)
        for neuron in learning.neurons().values():
            assert neuron.amplitudes is not None
            assert neuron.amplitudes.tolist() == list(neuron.weights)
            neuron.amplitudes.mul_(1.1)
        changed = learning(state, timestep).sample
        assert not torch.allclose(changed, snn(state, timestep).sample, atol=1e-3)
        learning.save_pretrained(tmp_path)
        assert torch.equal(SpikingUNet2DModel.from_pretrained(tmp_path)(state, timestep).sample, changed)


def test_the_seconds_of_steps_done_twice_count_once(tmp_path: Path) -> None:
    lines = ['{"step": 1, "seconds": 2.0}', '{"step": 2, "seconds": 5.0}', '{"step": 2, "seconds": 3.0}']
    (tmp_path / "loss.jsonl").write_text("\n".join(lines) + "\n")
    assert training_seconds(tmp_path) == 5
