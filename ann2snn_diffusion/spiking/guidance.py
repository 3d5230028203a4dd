"""Threshold guidance: factors on the firing condition, not on the spike's amplitude (SDDPM, arXiv 2306.17046, §4.3).

    s_t = Θ(v − g·C_t),    g(site, noise segment, step t) = product of the factors of all groups that it belongs to

A group is ``all``; a noise segment, by its first diffusion timestep (``segment.300``); a stage of the U-Net
(``stage.down``, ``stage.mid``, ``stage.up``); or a kind of site (``kind.activation``, before the convolutions of
residual blocks and the last one; ``kind.shortcut``; ``kind.resampling``; ``kind.attention``). Where steps differ in
weight, as in radix coding, a group may also be the last step of every train (``step.last``), whose factor widens the
dead zone, or all steps before it (``step.earlier``). A group that is not named has factor 1, and with factor 1
everywhere the network is exactly the unguided one. Below 1 a neuron fires at a lower charge, above 1 at a higher one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

from ann2snn_diffusion.spiking.coding import Coding

STAGES = ("down", "mid", "up")
KINDS = ("activation", "shortcut", "resampling", "attention")
STEPS = ("earlier", "last")
DIMENSIONS = ("segment", "stage", "kind", "step")

UNGUIDED = (1.0, 1.0)
"""Factors by step that change nothing."""
Guidance = float | Mapping[str, float]
"""One factor for all sites, or factors by group."""


def by_group(guidance: Guidance) -> Mapping[str, float]:
    """Factors by group."""
    return guidance if isinstance(guidance, Mapping) else {"all": guidance}


def is_guided(guidance: Guidance) -> bool:
    """Whether any factor differs from 1."""
    return any(factor != 1 for factor in by_group(guidance).values())


def groups(dimension: str, segments: Sequence[float]) -> list[str]:
    """The groups along ``segment``, ``stage``, ``kind`` or ``step``."""
    members = {"segment": segments, "stage": STAGES, "kind": KINDS, "step": STEPS}[dimension]
    return [f"{dimension}.{member}" for member in members]


def groups_with_sites(
    dimensions: Sequence[str], sites: Iterable[str], segments: Sequence[float], last: int
) -> list[str]:
    """Along ``dimensions``, the groups whose factor acts on one of ``sites`` below diffusion timestep ``last``."""
    sites, reached = list(sites), [first for first in segments if first < last]
    found = [group for dimension in dimensions for group in groups(dimension, segments)]
    plain = (1.0,) * len(reached), UNGUIDED

    def acts(named: Guidance, site: str) -> bool:
        return (factors(named, site, reached), step_factors(named)) != plain

    return [group for group in found if any(acts({group: 2.0}, site) for site in sites)]


def dimensions_of(coding: Coding) -> tuple[str, ...]:
    """Those that guidance has in a coding: steps that all weigh the same, as in rate coding, have one factor."""
    return tuple(dimension for dimension in DIMENSIONS if coding != "rate" or dimension != "step")


def known_groups(segments: Sequence[float], coding: Coding = "radix") -> list[str]:
    """All names that a guidance may hold."""
    return ["all", *(group for dimension in dimensions_of(coding) for group in groups(dimension, segments))]


def stage_of(site: str) -> str:
    """The group of a site, by its qualified name; the last convolution counts as ``stage.up``."""
    return f"stage.{next((stage for stage in STAGES if site.startswith(f'{stage}_block')), 'up')}"


def kind_of(site: str) -> str:
    """The group of a site, by its qualified name."""
    for kind, parts in {
        "shortcut": ("conv_shortcut",),
        "attention": ("attentions",),
        "resampling": ("downsamplers", "upsamplers", "downsample", "upsample"),
    }.items():
        if any(part in site.split(".") for part in parts):
            return f"kind.{kind}"
    return "kind.activation"


def factors(guidance: Guidance, site: str, segments: Sequence[float]) -> tuple[float, ...]:
    """g of a site in each noise segment, but for what `step_factors` adds."""
    named = by_group(guidance)
    everywhere = prod(named.get(group, 1.0) for group in ("all", stage_of(site), kind_of(site)))
    return tuple(everywhere * named.get(group, 1.0) for group in groups("segment", segments))


def step_factors(guidance: Guidance) -> tuple[float, float]:
    """What g has beside `factors` on the steps before the last one, and on the last one."""
    named = by_group(guidance)
    return named.get("step.earlier", 1.0), named.get("step.last", 1.0)
