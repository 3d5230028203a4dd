"""Independent streams of random numbers, each named by whole numbers."""

from __future__ import annotations

import numpy as np
import torch


def stream(*words: int) -> torch.Generator:
    """The generator that ``words`` name, such as a seed, a process and a step: equal words, equal numbers."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(words).generate_state(1)[0]))
