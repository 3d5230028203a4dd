"""Finds what is taken from a network's overshoot: as much as leaves images as dark, and as bright, as its ANN's.

Rounding adds an error of mean 0 to ε. Where x̂_0 is clipped the error is not, so the mean of the clipped x̂_0 moves
inwards, by as much as the mean overshoot grows; a step of DDIM from s to s' makes an image of it (arXiv 2010.02502,
eq. 12):

    x_s' = √ᾱ_s' · clip(x̂_0) + √(1−ᾱ_s') · ε
    moves by  √ᾱ_s' · √(1−ᾱ_s) / √ᾱ_s · (mean o − mean o_ANN) − √(1−ᾱ_s') · mean min(o, d)

It does not move where

    mean min(o, d) = ρ · (mean o − mean o_ANN),    ρ = σ_s / σ_s',  σ = √(1−ᾱ) / √ᾱ
"""

from __future__ import annotations

import torch
from scipy.optimize import root_scalar
from torch import Tensor

from ann2snn_diffusion.common.progress import Advance, idle
from ann2snn_diffusion.spiking.ann_outputs import Batch, split_batch
from ann2snn_diffusion.spiking.overshoot import Overshoot
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

STEPS = 25
"""Of the sampler that a network is settled for."""
STEEPEST = 2.0
"""ρ at the most: near the image a step leaves no noise, and what ε has there is not seen."""


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
    """Set d of each noise segment of ``unet``, in place; 0 where it overshoots no further than its ANN.

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
    segment, factor = unet.segment_of(batch[1]), lessening(overshoot, batch[1]).view(-1, 1, 1, 1)
    for index in segment.unique().tolist():
        for side in range(2):
            rows = segment == index
            more = factor[rows] * (of_snn[side][rows] - of_ann[side][rows])
            overshoot.taken[side, index] = taken(of_snn[side][rows], more.double().mean().item())


def lessening(overshoot: Overshoot, diffusion_timesteps: Tensor) -> Tensor:
    """ρ of one of `STEPS` equal steps from each diffusion timestep, int64 [B]; 1 for the last step."""
    ratio, step = overshoot.roots[1] / overshoot.roots[0], max(1, overshoot.roots.shape[1] // STEPS)
    found = ratio[diffusion_timesteps] / ratio[(diffusion_timesteps - step).clamp(min=0)]
    return torch.where(diffusion_timesteps < step, 1.0, found).nan_to_num(1.0).clamp(1.0, STEEPEST)


def taken(overshoot: Tensor, mean: float) -> float:
    """d for values o ≥ 0, of which min(o, d) shall have the mean ``mean``; no less than 0, and no more than all."""
    overshoot = overshoot.double()
    if mean >= overshoot.mean():
        return overshoot.max().item()

    def too_much(most: float) -> float:
        return overshoot.clamp(max=most).mean().item() - mean

    return root_scalar(too_much, bracket=(0, overshoot.max().item())).root if mean > 0 else 0.0
