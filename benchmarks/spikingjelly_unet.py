"""The bundled ANN with SpikingJelly's IF neurons before every synapse that ours stand before: what ours compare with.

Synapses, norms and ticks are those of our synchronous network; the neurons alone are other ones. Needs
`pip install spikingjelly`.
"""

from __future__ import annotations

from typing import Any

from diffusers import UNet2DModel
from torch import Tensor, nn

from ann2snn_diffusion import SpikeSpec, SpikingUNet2DModel

TIME_STEPS = 4


class IntegrateAndFire(nn.Module):
    """SpikingJelly's IFNode, multi-step, soft reset, for ticks that are folded into the batch, [T·B, …]."""

    def __init__(self) -> None:
        super().__init__()
        from spikingjelly.activation_based import neuron, surrogate  # pyright: ignore[reportMissingImports]

        self.node: Any = neuron.IFNode(
            v_reset=None, surrogate_function=surrogate.ATan(), detach_reset=True, step_mode="m"
        )

    def forward(self, value: Tensor) -> Tensor:
        """[T·B, …] → spikes of the same shape."""
        spikes = self.node(value.unflatten(0, (TIME_STEPS, -1))).flatten(0, 1)
        self.node.reset()  # its membrane would keep the whole pass
        return spikes


def spikingjelly_unet(ann: UNet2DModel) -> SpikingUNet2DModel:
    """As many neuron layers as our synchronous network has, each of SpikingJelly's."""
    unet = SpikingUNet2DModel.from_unet(ann, SpikeSpec(coding="rate", schedule="synchronous", time_steps=TIME_STEPS))
    for name in unet.neurons():
        parent, _, child = name.rpartition(".")
        setattr(unet.get_submodule(parent), child, IntegrateAndFire())
    return unet
