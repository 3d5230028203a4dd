"""Finds what is taken from a network's overshoot: as much as makes its mean that of the ANN."""

from __future__ import annotations

import torch
from scipy.optimize import root_scalar
from torch import Tensor

from ann2snn_diffusion.common.progress import Advance, idle
from ann2snn_diffusion.spiking.ann_outputs import Batch, split_batch
from ann2snn_diffusion.spiking.overshoot import Overshoot
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel


def attach_overshoot(unet: SpikingUNet2DModel, signal: Tensor, clip: float) -> None:
    """Have ``unet`` know its sampler's clip, and take nothing yet.

    Args:
        signal: ᾱ of every diffusion timestep, [N].
        clip: what x̂_0 is clipped to, r.
    """
    overshoot = Overshoot(len(signal), len(unet.spec.segments)).to(unet.device, unet.dtype)
    overshoot.roots.copy_(torch.stack([signal, 1 - signal]).sqrt())
    overshoot.clip.fill_(clip)
    unet.overshoot = overshoot
    unet.register_to_config(clipped_timesteps=len(signal))


@torch.no_grad()
def settle_overshoot(
    unet: SpikingUNet2DModel, batch: Batch, expected: Tensor, at_a_time: int, advance: Advance = idle
) -> None:
    """Set what ``unet`` takes in each noise segment, in place: d, the root of

        mean (o − d)₊ = mean o_ANN,    0 where the network overshoots no further than its ANN.

    Args:
        unet: a network that knows of its sampler's clip.
        batch: states x_s [N, C, H, W], diffusion timesteps int64 [N], class labels or None.
        expected: the ANN's ε for them, [N, C, H, W].
        at_a_time: states that pass the network together.
        advance: told how many states are done.
    """
    overshoot = unet.overshoot
    assert overshoot is not None
    overshoot.taken.zero_()
    found: list[Tensor] = []
    for some in split_batch(batch, at_a_time):
        found.append(torch.stack(overshoot.beyond(unet(*some).sample, *some[:2])))
        advance(sum(part.shape[1] for part in found))
    of_snn, of_ann = torch.cat(found, 1), overshoot.beyond(expected, *batch[:2])
    segment = unet.segment_of(batch[1])
    for index in segment.unique().tolist():
        for side in range(2):
            rows = segment == index
            overshoot.taken[side, index] = taken(of_snn[side][rows], of_ann[side][rows].double().mean().item())


def taken(overshoot: Tensor, mean: float) -> float:
    """d for values o ≥ 0, of which (o − d)₊ shall have the mean ``mean``; 0 where theirs is no more already."""
    overshoot = overshoot.double()

    def too_much(less: float) -> float:
        return (overshoot - less).clamp(min=0).mean().item() - mean

    return root_scalar(too_much, bracket=(0, overshoot.max().item())).root if too_much(0) > 0 else 0.0
