"""How often an evaluation draws each class: as often as the real images have it."""

from __future__ import annotations

from diffusers import UNet2DModel

from ann2snn_diffusion.evaluation.real_data import RealData


def class_shares(unet: UNet2DModel, real: RealData | None) -> tuple[float, ...]:
    """How often each class is drawn, 0 … 1; none: all equally often, for nothing tells how often.

    A network with one class more than the real images learned without labels too (classifier-free guidance, arXiv
    2207.12598): that last class is no class, and left out.
    """
    classes, counts = unet.config["num_class_embeds"], () if real is None else real.class_counts
    if classes is None or len(counts) not in (classes, classes - 1) or not sum(counts):
        return ()
    return tuple(count / sum(counts) for count in counts)


def labels_in_words(unet: UNet2DModel, real: RealData | None) -> str:
    """How class labels are drawn where none are asked for; empty for networks that know no classes."""
    classes, shares = unet.config["num_class_embeds"], class_shares(unet, real)
    if classes is None:
        return ""
    if real is None or not shares:
        return f"uniformly from 0 to {classes - 1}"
    left_out = f"; {classes - 1}, which they have not, is left out" if len(shares) < classes else ""
    return f"as often as in {real.reference.name}{left_out}"
