"""What spike trains stand for, in plain NumPy: the whole of what a reader of exported trains has to compute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def activation_of_spikes(
    spikes: NDArray[np.int8],
    threshold: NDArray[np.float32],
    offset: NDArray[np.float32],
    step_weights: Sequence[int],
    amplitudes: Sequence[float] | None = None,
) -> NDArray[np.float32]:
    """offset + θ · Σ_t A_t·s_t / Σ_t W_t: what a site hands on to its synapses, [B, …].

    Args:
        spikes: s_t in {−1, 0, 1}, [firing steps, B, …].
        threshold: θ, to broadcast against [B, …].
        offset: to broadcast against [B, …].
        step_weights: W_t, one for each firing step.
        amplitudes: A_t, where training moved them; None: W_t.
    """
    carried = np.asarray(step_weights if amplitudes is None else amplitudes, np.float32)
    unit = threshold / np.float32(sum(step_weights))
    return (offset + unit * np.tensordot(carried, spikes.astype(np.float32), 1)).astype(np.float32)
