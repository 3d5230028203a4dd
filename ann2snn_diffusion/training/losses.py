"""What fine-tuning minimises; all losses are means over images of one batch, and mix by weight."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from torch import Tensor, nn

from ann2snn_diffusion.spiking.modes import listening
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.ticks import value_of
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration.observe import visiting

SMALLEST = 1e-8


def distill(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean logarithm of each image's error to the ANN's prediction, [B, C, H, W] both:

        loss = mean_b log mean (predicted_b − target_b)²

    Errors differ by a factor of 50 between noise levels, and it is the small ones, at high noise, that the sampler
    clips into wrong images; the logarithm makes a percent of improvement worth the same at every noise level.
    """
    errors = (predicted.float() - target.float()).square().mean((1, 2, 3))
    return errors.clamp(min=SMALLEST).log().mean()


def blockwise(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Tensor:
    """Mean over blocks of Σ(SNN − ANN)² / ΣANN² of what each hands on, as SDM (arXiv 2408.16467, §6) trains them.

    Args:
        found: of the SNN, [S·B, …]; of S running means the last is the value, see `ticks`.
        expected: of the ANN, [B, …].
    """
    errors = [
        (value_of(found[name], len(target)).float() - target.float()).square().sum()
        / target.float().square().sum().clamp(min=SMALLEST)
        for name, target in expected.items()
    ]
    return torch.stack(errors).mean()


def denoise(predicted: Tensor, target: Tensor) -> Tensor:
    """The DDPM loss (arXiv 2006.11239, eq. 14): mean square of ε, or of what the scheduler's prediction type names."""
    return F.mse_loss(predicted.float(), target.float())


@contextmanager
def block_outputs(unet: UNet2DModel) -> Iterator[dict[str, Tensor]]:
    """What each down, mid and up block hands on, by name, after a forward pass inside the ``with`` block."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str, _input: Tensor, output: Tensor | tuple[Tensor, ...]) -> None:
        outputs[name] = output if isinstance(output, Tensor) else output[0]

    blocks = [
        (block, partial(keep, name))
        for name, block in unet.named_modules()
        if re.fullmatch(r"mid_block|(down|up)_blocks\.\d+", name)
    ]
    with visiting(after=blocks):
        yield outputs


def spikes_per_neuron_and_step(neuron: SpikingNeuron, value: Tensor) -> Tensor:
    """Mean over all neurons of a site, with surrogate gradients, for the value [S·B, …] that charges it; 0 … 1."""
    return neuron.spikes(value.float()).abs().mean()


def firing_rates(unet: SpikingUNet2DModel) -> AbstractContextManager[dict[nn.Module, Tensor]]:
    """Spikes per neuron and time step by site, with gradients, after a forward pass inside the ``with`` block."""
    return listening(unet, spikes_per_neuron_and_step)
