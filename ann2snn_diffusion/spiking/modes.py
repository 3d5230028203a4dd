"""How the next passes of a network run: as its ANN, listened to, or fused; each inside a ``with`` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from ann2snn_diffusion.spiking.folding import require_ann
from ann2snn_diffusion.spiking.forward_pass import Listener, Measure
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel


@contextmanager
def analog(network: nn.Module) -> Iterator[None]:
    """Run ``network``, in this thread, as the ANN that it was converted from, inside the ``with`` block.

    Raises:
        TypeError: there is no SpikingUNet2DModel in ``network``.
        FoldedError: a folded one is.
    """
    spiking = [module for module in network.modules() if isinstance(module, SpikingUNet2DModel)]
    if not spiking:
        raise TypeError(
            f"analog: expected a SpikingUNet2DModel, or a module that holds one, got a {type(network).__name__}; "
            "call other modules inside `running(ForwardPass(analog=True))`."
        )
    for unet in spiking:
        require_ann(unet, "analog(…)")
    with ExitStack() as stack:
        for unet in spiking:
            stack.enter_context(unet.mode.passing())
        yield


@contextmanager
def listening(network: SpikingUNet2DModel, measure: Measure) -> Iterator[dict[nn.Module, Tensor]]:
    """What ``measure`` finds at each neuron of the last forward pass of ``network``, in this thread, inside the block.

    Gradients flow, also where gradient checkpointing is enabled.
    """
    before, listener = network.mode.listener, Listener(measure)
    network.mode.listener = listener
    try:
        yield listener.measured
    finally:
        network.mode.listener = before


@contextmanager
def fused(network: SpikingUNet2DModel) -> Iterator[None]:
    """Train ``network``, in this thread, with one compiled kernel for each neuron, inside the ``with`` block.

    That takes less time and memory. The first passes compile, for a minute; it takes what `torch.compile` does, such as
    a C++ compiler.
    """
    before, network.mode.fused = network.mode.fused, True
    try:
        yield
    finally:
        network.mode.fused = before
