"""SpikeSpec: one frozen, validated description of what spikes and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, Self

from ann2snn_diffusion.common.specs import build, check, require, setting
from ann2snn_diffusion.spiking.coding import Coding, step_weights
from ann2snn_diffusion.spiking.guidance import Guidance, by_group, known_groups

Schedule = Literal["layerwise", "synchronous"]
Surrogate = Literal["rectangle", "triangle", "arctan", "sigmoid"]
SEGMENTS = "ascending diffusion timesteps from 0, such as 0, 50, 300"
PATTERNS = "a list of patterns of module names"
HIGHEST_TABULATED = 1 << 16
"""Level that a dead zone is tabulated for."""
VERSION = 1
"""Of the dictionary that a spec is stored as; 0 had no number."""


@dataclass(frozen=True)
class SpikeSpec:
    """How an ANN becomes spiking.

    Raises:
        SpecError: a field out of range, or fields that contradict each other.
    """

    time_steps: int = setting(4, "Ticks of the spiking network, T.", at_least=1, at_most=16)
    coding: Coding = setting("radix", "How T spikes stand for a number.")
    schedule: Schedule = setting(
        "layerwise",
        "layerwise: a layer gathers all its input spikes, then fires T times. synchronous: all layers tick together, "
        "rate coding only.",
    )
    signed_activations: bool = setting(
        True, "Neurons after an activation fire spikes of both signs (a pair of neurons), as encoders always do."
    )
    leak: float = setting(
        1.0, "Membrane factor λ per tick: 1 is IF, below 1 LIF. Synchronous schedule only.", above=0, at_most=1
    )
    sparse: bool = setting(
        True, "Of all trains of signed radix spikes that stand for a level, neurons fire the one with fewest spikes."
    )
    dead_zone: bool | None = setting(
        None,
        "A spike is fired only where it saves half a squared level of error or more. Layerwise only. Default: where an "
        "`energy` is asked for.",
    )
    learned_step_weights: bool = setting(
        False,
        "The spikes of each time step have an amplitude of their own at every site, which training moves away from "
        "the step weight (temporal-wise spiking mechanism, SDM, arXiv 2408.16467).",
    )
    surrogate: Surrogate = setting("rectangle", "Gradient of the spike in training.")
    segments: tuple[float, ...] = setting(
        (0, 10, 25, 50, 120, 300, 450, 600, 700, 800, 900),
        "First diffusion timestep of each noise segment; a segment has its own row of thresholds. In DDPM's linear "
        "schedule of 1000: conversion takes those of equal noise on the model's own.",
        in_words=SEGMENTS,
    )
    guidance: Guidance = setting(
        1.0,
        "Factor on the firing condition, or factors by group: all, segment.300, stage.up, kind.attention, "
        "step.last and the like.",
        above=0,
        at_most=10,
        in_words="a factor in (0, 10], or a table of such factors by group",
    )
    keep: tuple[str, ...] = setting((), "Patterns (fnmatch) of module names that stay analog.", in_words=PATTERNS)
    doubled: tuple[str, ...] = setting(
        (),
        "Patterns (fnmatch) of module names where two neurons take turns on each membrane: 2·T spikes in T ticks, in "
        "the synchronous schedule bursts of at most two (arXiv 2204.13271). At T = 4 radix coding has 511 signed "
        "levels there instead of 31.",
        in_words=PATTERNS,
    )

    def __post_init__(self) -> None:
        check(self)
        ascending = all(first < second for first, second in pairwise(self.segments))
        starts = bool(self.segments) and self.segments[0] <= 0  # a network may be told σ, or its logarithm
        require(ascending and starts, "segments", self.segments, SEGMENTS)
        known = known_groups(self.segments, self.coding)
        for group in by_group(self.guidance):
            require(group in known, "guidance", group, "groups among " + ", ".join(known))
        synchronous = self.schedule == "synchronous"
        require(
            not synchronous or self.coding == "rate", "coding", self.coding,
            "rate beside the synchronous schedule: a weighted spike has no meaning before its train is complete",
        )  # fmt: skip
        if self.dead_zone:
            self._require_a_dead_zone_to_make_sense()
        require(synchronous or self.leak == 1, "leak", self.leak, "1 unless the schedule is synchronous")
        require(
            self.coding != "ternary" or self.signed_activations, "signed_activations", self.signed_activations,
            "true beside ternary coding, which has negative digits",
        )  # fmt: skip

    def _require_a_dead_zone_to_make_sense(self) -> None:
        unknown = "false beside the synchronous schedule, where no tick knows what is still to come"
        require(self.schedule == "layerwise", "dead_zone", True, unknown)
        dense = "false beside `sparse` false, where a level takes more spikes than it needs; `energy` sets it unasked"
        require(self.sparse or self.coding != "radix", "dead_zone", True, dense)
        highest = sum(step_weights(self.coding, self.time_steps * (2 if self.doubled else 1)))
        many = f"so few that a site has no level above {HIGHEST_TABULATED}, beside a `dead_zone`, as `energy` has"
        require(highest <= HIGHEST_TABULATED, "time_steps", self.time_steps, many)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from what `to_dict` gave, now or in an earlier version.

        Raises:
            SpecError: written by a later version; unknown field, or a value out of range.
        """
        found = isinstance(values, Mapping) and bool(values)
        require(found, "spiking", values, "a table of fields, as a converted model has it")
        fields = dict(values)
        version = fields.pop("version", 0)
        known = isinstance(version, int) and 0 <= version <= VERSION
        require(known, "version", version, f"at most {VERSION}: a later ann2snn-diffusion wrote it; install that")
        # Before there was a number, neurons fired as early as a level allows.
        return build(cls, fields if version else {"sparse": False} | fields)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values and their version; `from_dict` restores an equal spec."""
        return {"version": VERSION} | {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }
