"""One image on its way from noise, as the page's slider shows it: ANN, SNN, and what lies between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ann2snn_diffusion.diffusion.denoising import Denoising
from ann2snn_diffusion.evaluation.figures import ANN, SNN
from ann2snn_diffusion.reporting.page.pictures import data_uri

MOST_PIXELS = 96
"""Of a side: noise takes as many bytes as it has pixels."""
GAINS = (1000, 500, 200, 100, 50, 20, 10, 5, 2, 1)
SHOWN = 0.995
"""Share of the differences that are not clipped, at all steps together."""


@dataclass(frozen=True)
class Slides:
    """What the slider moves through."""

    titles: tuple[str, ...]
    """Of the pictures side by side."""
    pictures: tuple[tuple[str, ...], ...]
    """At each step, a data URI for each title."""
    labels: tuple[str, ...]
    """Of each step."""


def slides(denoising: Mapping[str, Denoising]) -> Slides | None:
    """Noise first, the finished image last; of a folded network it alone; None where there is none."""
    if SNN not in denoising:
        return None
    shown, told = {title: one.images for title, one in denoising.items()}, [""] * len(denoising[SNN].images)
    if ANN in denoising:
        difference = shown[SNN] - shown[ANN]
        gain = _gain(difference)
        shown[f"difference\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{gain}"] = (0.5 + gain * difference / 2).clamp(0, 1)
        told = [f"; difference {one.square().mean().sqrt().item():.4f}" for one in difference]
    timesteps = denoising[SNN].diffusion_timesteps
    labels = [f"step {number} of {len(timesteps)}, diffusion timestep {one}" for number, one in enumerate(timesteps, 1)]
    frames = zip(*shown.values(), strict=True)
    return Slides(
        tuple(shown),
        tuple(tuple(data_uri(one, MOST_PIXELS) for one in frame) for frame in frames),
        tuple(label + words for label, words in zip([*labels, "the finished image"], told, strict=True)),
    )


def _gain(difference: Tensor) -> int:
    """What differences are multiplied by, so that they are seen and not clipped; the whole range is 2."""
    largest = difference.abs().flatten().sort().values
    kept = largest[int(SHOWN * (len(largest) - 1))].item()
    return next((gain for gain in GAINS if gain * kept <= 1), 1)
