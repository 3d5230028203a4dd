"""Named streams of random numbers: one for every purpose, so that no two of them ever share a number.

Images are the exception: image i is drawn from ``torch.Generator().manual_seed(seed + i)``, so that whoever has torch
can draw the same image.
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal

import torch

Purpose = Literal[
    "bootstrap", "calibration", "calibration images", "clip", "export", "fidelity", "held-out images", "judged",
    "manifold", "places", "searched", "searched images", "sensitivity", "training", "training images", "training start",
    "weights",
]  # fmt: skip


def stream(purpose: Purpose, seed: int, *words: int) -> torch.Generator:
    """The generator of one purpose, seed, and whatever else tells streams apart, such as process and step."""
    name = json.dumps([purpose, seed, *words])
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big"))


def image_stream(seed: int, index: int) -> torch.Generator:
    """The generator of image ``index``."""
    return torch.Generator().manual_seed(seed + index)
