from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor
from torch._dynamo.utils import counters

from ann2snn_diffusion.spiking import forward_pass, modes
from ann2snn_diffusion.spiking.modes import fused, fusing_pays
from ann2snn_diffusion.spiking.spec import SpikeSpec
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
    ("passes", "problem", "expected"), [(200, None, True), (199, None, False), (1000, "no g++", False)]
)
def test_fusing_pays_in_many_passes_where_there_is_a_compiler(
    monkeypatch: pytest.MonkeyPatch, passes: int, problem: str | None, expected: bool
) -> None:
    monkeypatch.setattr(modes, "problem_on", lambda device: problem)
    assert fusing_pays(torch.device("cpu"), passes) is expected


@pytest.mark.usefixtures("compiler")
@pytest.mark.slow
@pytest.mark.parametrize("spec", [{}, {"doubled": ("*",), "dead_zone": True}])
def test_without_gradients_a_fused_network_gives_the_same_to_the_last_bit(
    unet: UNet2DModel, spec: dict[str, Any]
) -> None:
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec(**spec)).requires_grad_(False)
    states, timesteps = torch.randn(3, 1, 8, 8), torch.tensor([10, 400, 900])
    unguided = snn(states, timesteps).sample
    with fused(snn):
        assert torch.equal(snn(states, timesteps).sample, unguided)
    for place, neuron in enumerate(snn.neurons().values()):
        neuron.guidance, neuron.step_guidance = (1 + place / 100,) * len(neuron.guidance), (1.0, 1 + place / 50)
    guided = snn(states, timesteps).sample
    assert not torch.equal(guided, unguided)
    with fused(snn):
        assert torch.equal(snn(states, timesteps).sample, guided)


@pytest.mark.usefixtures("compiler")
@pytest.mark.slow
def test_all_guidances_share_their_kernels(unet: UNet2DModel) -> None:
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec()).requires_grad_(False)
    torch.compiler.reset()
    made = []
    for strength in (1.0, 1.1, 1.2, 1.3):
        snn.guidance = strength
        with fused(snn):
            snn(torch.randn(3, 1, 8, 8), torch.tensor([10, 400, 900]))
        made.append(counters["stats"]["unique_graphs"])
    assert made[0] < made[1] == made[2] == made[3]
