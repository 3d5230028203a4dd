"""How far ε overshoots the sampler's clip: a spiking network shortens it, so that black stays black.

A sampler clips x̂_0 = (x_s − √(1−ᾱ)·ε) / √ᾱ to [−r, r], and goes on with ε as it is (DDIM, arXiv 2010.02502, eq. 12).
What rounding adds to ε is undone where it leads beyond r and kept where it leads back, so images lose contrast: black
becomes grey. With ε beyond the clip

    o⁺ = (ε − (x_s + r·√ᾱ) / √(1−ᾱ))₊,      o⁻ = ((x_s − r·√ᾱ) / √(1−ᾱ) − ε)₊

the network gives

    ε' = ε − min(o⁺, d⁺_k) + min(o⁻, d⁻_k)

x̂_0, once clipped, stays as it was. `settle_overshoot` finds d_k of each noise segment k.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class Overshoot(nn.Module):
    """Takes from ε what it overshoots the clip by, at most d.

    Args:
        timesteps: how many diffusion timesteps the schedule has.
        segments: noise segments of the network.

    Attributes:
        roots: √ᾱ and √(1−ᾱ) of every diffusion timestep, [2, N].
        clip: r.
        taken: d⁺ and d⁻ of every noise segment, [2, K]; 0, until it is settled.
    """

    own_parameters: ClassVar = ("roots", "clip", "taken")
    roots: Tensor
    clip: Tensor
    taken: Tensor

    def __init__(self, timesteps: int, segments: int) -> None:
        super().__init__()
        self.register_buffer("roots", torch.ones(2, timesteps))
        self.register_buffer("clip", torch.ones(()))
        self.register_buffer("taken", torch.zeros(2, segments))

    def beyond(self, epsilon: Tensor, states: Tensor, diffusion_timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """o⁺ and o⁻ of ε for x_s, [B, C, H, W] each, at diffusion timesteps [B] or [1]."""
        signal, noise = self.roots.to(epsilon)[:, diffusion_timesteps.long()].view(2, -1, 1, 1, 1)
        reach = self.clip.to(epsilon) * signal
        return (epsilon - (states + reach) / noise).clamp(min=0), ((states - reach) / noise - epsilon).clamp(min=0)

    def forward(self, epsilon: Tensor, states: Tensor, diffusion_timesteps: Tensor, segment: Tensor) -> Tensor:
        """ε' of ε for x_s, [B, C, H, W] each, at diffusion timesteps and in noise segments [B] or [1]."""
        above, below = self.beyond(epsilon, states, diffusion_timesteps)
        taken = self.taken.to(epsilon)[:, segment].view(2, -1, 1, 1, 1)
        return epsilon - torch.minimum(above, taken[0]) + torch.minimum(below, taken[1])
