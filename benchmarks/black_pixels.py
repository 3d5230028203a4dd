"""What rounding does to black pixels, where a sampler clips: they become a little grey."""

from __future__ import annotations

from torch import Tensor

BLACK = 8
"""Of 255: at most what the ANN leaves of black."""


def brighter_black(ann: Tensor, snn: Tensor) -> float:
    """By how many of 255 levels pixels are brighter that the ANN leaves black; images alike in shape, 0 … 255."""
    return (snn.float() - ann.float())[ann <= BLACK].mean().item()
