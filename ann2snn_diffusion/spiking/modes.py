"""How the next passes of a network run: as its ANN, listened to, or fused; each inside a ``with`` block."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from ann2snn_diffusion.spiking.folding import require_ann
from ann2snn_diffusion.spiking.forward_pass import Listener, Measure
from ann2snn_diffusion.spiking.fusing import problem_on
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

LOG = logging.getLogger(__name__)
FUSED_FROM = 200
"""Passes from which fusing pays: compiling takes about as long as a hundred of them save."""


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
    """Run ``network``, in this thread, with one compiled kernel for each kind of neuron.

    That takes less time, and training less memory. The first passes compile, for a minute; it takes what
    `torch.compile` does, such as a C++ compiler.
    """
    before, network.mode.fused = network.mode.fused, True
    try:
        yield
    finally:
        network.mode.fused = before


def fusing_pays(device: torch.device, passes: int) -> bool:
    """Whether ``passes`` take less time fused: where they are many, and there is a compiler."""
    if passes < FUSED_FROM:
        return False
    problem = problem_on(device)
    if problem is not None:
        LOG.info("Neurons are not fused: %s", problem)
    return problem is None


def fused_where_it_pays(network: UNet2DModel, passes: int) -> AbstractContextManager[None]:
    """Run ``network`` fused for ``passes``, inside the ``with`` block, where that takes less time; an ANN as it is."""
    spiking = isinstance(network, SpikingUNet2DModel)
    return fused(network) if spiking and fusing_pays(network.device, passes) else nullcontext()
