from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.spiking import forward_pass
from ann2snn_diffusion.spiking.modes import fused
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
