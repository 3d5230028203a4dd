"""All that the page of a converted model shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ann2snn_diffusion.diffusion.denoising import Denoising
from ann2snn_diffusion.evaluation.costs import Costs
from ann2snn_diffusion.evaluation.records import RecordedEvaluation, RecordedFidelity
from ann2snn_diffusion.models.provenance import Provenance
from ann2snn_diffusion.spiking.spec import SpikeSpec


@dataclass(frozen=True)
class SiteSettings:
    """How the neurons of one site are set."""

    signed: bool
    doubled: bool
    """Two neurons take turns on each membrane."""
    threshold: tuple[float, float]
    """Smallest and largest θ over channels and segments."""


@dataclass(frozen=True)
class Report:
    """What is known of a converted model, ready to be shown."""

    name: str
    """Of its folder; a bare name."""
    ann: str
    """What it was converted from: a hub id, ``fashion-mnist``, or a folder's bare name."""
    revision: str | None
    """Of the ANN, where it came from a hub."""
    spec: SpikeSpec
    folded: bool
    """The ANN is not there to be drawn with."""
    provenance: Provenance
    sites: Mapping[str, SiteSettings]
    """By name, in no particular order."""
    costs: Costs
    """Counted for this report."""
    fidelity: RecordedFidelity | None
    """From the folder's conversion_report.json; None where that has none."""
    low_noise_end: int
    """First diffusion timestep that is as noisy as DDPM's 50."""
    evaluation: RecordedEvaluation | None
    samples: Mapping[str, Tensor] = field(compare=False, repr=False)
    """Images [N, C, H, W] in [0, 1] from equal noise, by network: ``ANN`` (unless folded) and ``SNN``."""
    denoising: Mapping[str, Denoising] = field(compare=False, repr=False)
    """One image on its way from the same noise; likewise."""
