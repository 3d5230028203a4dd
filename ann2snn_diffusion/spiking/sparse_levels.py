"""The level of a signed radix train with a dead zone, by bits: compiled, that is faster than to look it up.

Where the boundary between the levels k and k + 1 lies depends on how many spikes each takes (see `conditions`, π = ½):

    k + 1 from the charge  k + ½ + ¼·(spikes(k + 1) − spikes(k))  on

A sparse train is a non-adjacent form (Reitwiesner 1960). How many spikes more it has for k + 1 than for k is told by
the lowest two neighbours among the bits of k, in two's complement, that are equal, b_i = b_{i+1}:

    spikes(k + 1) − spikes(k) = 0 where i is odd; where it is even, 1 if both bits are 0, and −1 if both are 1

For 4m + 1 has a spike more than 4m, and 4m + 3 = 4·(m + 1) − 1 one more than 4m + 4. From 4m + 1 to 4m + 2 the
difference is that from m to m + 1 if m is odd, and 0 if it is even; from 4m + 2 to 4m + 3 the other way round.

A train has n digits, so it cannot write 2^n − 2^j as 2^n less a spike: where k ≥ 0 begins with a run of ones at bit
n − 1, or −k − 1 does, each is a spike of its own. If the equal bits lie in that run, the difference is one more than
said, or one less where k is negative.
"""

from __future__ import annotations

import torch
from torch import Tensor

from calibration.levels import QUARTERS, widened

EVEN = 0x55555555
"""The bits 0, 2, 4, …"""


def sparse_level(charge: Tensor, highest: int) -> Tensor:
    """The level, −``highest`` … ``highest`` = 2^n − 1, of every charge in units; NaN of NaN."""
    # Of a unit's four quarters, 2 − (spikes more) belong to k + 1, but for those of the last level.
    quarter = (widened(charge) * QUARTERS).floor().clamp(-QUARTERS * highest, QUARTERS * highest + 1)
    whole = quarter.int()
    k = whole >> 2
    equal = ~(k ^ (k >> 1))
    lowest = equal & -equal
    even = lowest & EVEN
    negative = k >> 31
    in_run = ((k ^ negative) | (lowest - 1)) == highest
    one_more = ((lowest & highest) ^ negative) - negative
    more = (even - 2 * (even & k) + torch.where(in_run, one_more, 0)).clamp(-1, 1)
    return (((whole + 2 - more) >> 2) + 0 * quarter).to(charge.dtype)
