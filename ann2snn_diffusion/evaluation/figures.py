"""All figures of one evaluation of a converted model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ann2snn_diffusion.evaluation.fidelity import ImageDistance
from ann2snn_diffusion.evaluation.fidelity_report import FidelityReport
from ann2snn_diffusion.evaluation.image_quality import Quality

ANN, SNN = "ANN", "SNN"


@dataclass(frozen=True)
class Distribution:
    """Quality of both networks' images against the same real ones."""

    quality: dict[str, Quality]
    """Of ``ANN`` and ``SNN``."""
    fid_difference: float
    """FID of the SNN minus that of the ANN."""
    fid_difference_interval: tuple[float, float]
    """95 %, bootstrapped in pairs of equal noise."""
    floor: float | None
    """FID of as many held-out real images."""
    floor_interval: tuple[float, float] | None
    """95 %, bootstrapped."""


@dataclass(frozen=True)
class Evaluation:
    """All that was measured; `to_dict` is what evaluation.json holds."""

    settings: dict[str, Any]
    """What another run needs to come to the same figures."""
    fidelity: FidelityReport
    images: ImageDistance
    """Between both networks' images."""
    distribution: Distribution | None
    """None where no real images were given."""
    drawn: dict[str, Tensor] = dataclasses.field(compare=False, repr=False)
    """The images, uint8 [N, C, H, W], of ``ANN`` and ``SNN``."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the images."""
        distribution = self.distribution and dataclasses.asdict(self.distribution)
        return {
            "settings": self.settings,
            "fidelity": self.fidelity.to_dict(),
            "images": dataclasses.asdict(self.images),
            "distribution": distribution,
        }
