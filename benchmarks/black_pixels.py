"""What rounding does to black pixels, where a sampler clips: they become a little grey."""

from __future__ import annotations

from torch import Tensor

BLACK = 8
"""Of 255: at most what a network leaves of black."""


def greyer_black(ann: Tensor, snn: Tensor) -> float:
    """By how many of 255 levels the SNN's black is brighter than its ANN's; images alike in shape, 0 … 255.

    Where images differ, what one network leaves black is brighter in the other. That goes both ways, so half the
    difference counts: of the SNN where the ANN is black, and of the ANN where the SNN is.
    """
    brighter = snn.float() - ann.float()
    return (brighter[ann <= BLACK].mean() + brighter[snn <= BLACK].mean()).item() / 2
