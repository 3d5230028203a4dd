"""Folding: a converted network with one weight for each synapse, of its ANN's size, and without its ANN."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from ann2snn_diffusion.common.errors import A2SError

if TYPE_CHECKING:
    from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel


class FoldedError(A2SError):
    """A folded network was asked for its ANN, which is gone."""


def fold(unet: SpikingUNet2DModel) -> SpikingUNet2DModel:
    """A copy of ``unet`` whose corrections are added to their weights for good: it gives the same, rounding aside.

    A correction is what the SNN's weight has more than the ANN's. Only their sum is left, so a folded network can be
    drawn with, guided, saved and loaded, but not run as its ANN, compared with it, calibrated or fine-tuned.
    """
    folded = copy.deepcopy(unet)
    for layer in folded.synapses().values():
        layer.fold()
    folded.register_to_config(folded=True)
    return folded


def require_ann(unet: SpikingUNet2DModel, purpose: str) -> None:
    """Refuse a ``purpose`` that needs the ANN inside ``unet``, before any work.

    Raises:
        FoldedError: the network is folded.
    """
    if unet.folded:
        source = (unet.config["converted_from"] or {}).get("source", "the ANN")
        raise FoldedError(
            f"{purpose} needs the ANN, which a folded network has no more: take the network that it was folded from, "
            f"or convert {source} again without folding."
        )
