from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.spiking import forward_pass, modes
from ann2snn_diffusion.spiking.modes import fused, fusing_pays
from ann2snn_diffusion.spiking.spec import Schedule, SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.learner import learnable


def passed(snn: SpikingUNet2DModel) -> tuple[Tensor, dict[str, Tensor], int]:
    """The output, all gradients, and how many numbers were kept for them."""
    generator, kept = torch.Generator().manual_seed(3), []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor.detach()

    states = torch.randn(3, 1, 8, 8, generator=generator)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = snn(states, torch.tensor([10, 400, 900])).sample
    snn.zero_grad()
    output.square().mean().backward()
    gradients = {name: part.grad for name, part in snn.named_parameters() if part.grad is not None}
    return output.detach(), gradients, sum(kept)


@pytest.mark.usefixtures("compiler")
@pytest.mark.slow
@pytest.mark.parametrize(
    "spec", [{}, {"coding": "rate", "schedule": "synchronous"}, {"doubled": ("*",), "dead_zone": True}]
)
def test_a_fused_network_computes_the_same_and_keeps_less(
    unet: UNet2DModel, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward_pass, "MANY", 1)
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec(**spec))
    learnable(snn, "spiking")
    expected, expected_gradients, more = passed(snn)
    with fused(snn):
        assert snn.mode.fused
        found, gradients, less = passed(snn)
    assert not snn.mode.fused
    torch.testing.assert_close(found, expected)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-3, atol=1e-5)
    assert less < 0.8 * more


@pytest.mark.parametrize(
    ("passes", "schedule", "device", "problem", "expected"),
    [
        (1000, "synchronous", "cpu", None, True),
        (1000, "synchronous", "cpu", "no g++", False),
        (1000, "layerwise", "cuda", None, True),
        (1000, "layerwise", "cpu", None, False),
        (100, "synchronous", "cuda", None, False),
    ],
)
def test_fusing_pays_where_neurons_tick_or_on_a_gpu_in_many_passes_with_a_compiler(
    unet: UNet2DModel, monkeypatch: pytest.MonkeyPatch,
    passes: int, schedule: Schedule, device: str, problem: str | None, expected: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(modes, "problem_on", lambda device: problem)
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec(coding="rate", schedule=schedule))
    assert fusing_pays(snn, torch.device(device), passes) is expected
