"""SpikeSpec: one frozen, validated description of what spikes and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, Self, get_args

from ann2snn_diffusion.common.specs import build, is_number, require, require_flags
from ann2snn_diffusion.spiking.coding import CODINGS, Coding
from ann2snn_diffusion.spiking.guidance import Guidance, by_group, known_groups
from ann2snn_diffusion.spiking.surrogate import SURROGATES, Surrogate

Schedule = Literal["layerwise", "synchronous"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)


@dataclass(frozen=True)
class SpikeSpec:
    """How an ANN becomes spiking.

    Raises:
        SpecError: a field out of range, or fields that contradict each other.
    """

    time_steps: int = 4
    """Ticks of the spiking network, T ≥ 1."""
    coding: Coding = "radix"
    """How T spikes stand for a number."""
    schedule: Schedule = "layerwise"
    """layerwise: a layer gathers all its input spikes, then fires T times. synchronous: all layers tick together."""
    signed_activations: bool = True
    """Neurons after an activation fire spikes of both signs (a pair of neurons), as encoders always do."""
    leak: float = 1.0
    """Membrane factor λ per tick, in (0, 1]; 1 is IF, below 1 LIF. Synchronous schedule only."""
    learned_step_weights: bool = False
    """A spike of step t has an amplitude of its own, one per site, that training moves away from the step weight W_t
    (temporal-wise spiking mechanism, SDM, arXiv 2408.16467)."""
    surrogate: Surrogate = "rectangle"
    """Gradient of the spike in training."""
    segments: tuple[int, ...] = (0, 10, 25, 50, 120, 300, 450, 600, 700, 800, 900)
    """First diffusion timestep of each noise segment, ascending from 0; a segment has its own row of thresholds."""
    guidance: Guidance = 1.0
    """Factor on the firing condition, or factors by group; see `ann2snn_diffusion.spiking.guidance`."""
    keep: tuple[str, ...] = ()
    """Patterns (fnmatch) of module names that stay analog."""
    doubled: tuple[str, ...] = ()
    """Patterns (fnmatch) of module names where two neurons, not one, take turns on each membrane: 2·T spikes in T
    ticks, so that at T = 4 radix coding has 511 signed levels there, not 31, and rate coding 17, not 9. In the
    synchronous schedule they are bursts of at most two spikes (arXiv 2204.13271)."""

    def __post_init__(self) -> None:
        require(
            is_number(self.time_steps, 1, 16, whole=True), "time_steps", self.time_steps, "a whole number from 1 to 16"
        )
        for field, choices in (("coding", CODINGS), ("schedule", SCHEDULES), ("surrogate", SURROGATES)):
            require(getattr(self, field) in choices, field, getattr(self, field), "one of " + ", ".join(choices))
        require(is_number(self.leak, 0, 1) and self.leak > 0, "leak", self.leak, "a number in (0, 1]")
        require_flags(self, ("signed_activations", "learned_step_weights"))
        numbers = isinstance(self.segments, tuple) and all(is_number(start, 0, whole=True) for start in self.segments)
        ascending = numbers and all(first < second for first, second in pairwise(self.segments))
        require(
            ascending and self.segments[:1] == (0,), "segments", self.segments, "ascending diffusion timesteps from 0"
        )
        self._require_guidance()
        for field in ("keep", "doubled"):
            patterns = getattr(self, field)
            listed = isinstance(patterns, tuple) and all(isinstance(name, str) for name in patterns)
            require(listed, field, patterns, "a list of patterns of module names")
        synchronous = self.schedule == "synchronous"
        require(
            not synchronous or self.coding == "rate", "coding", self.coding,
            "rate beside the synchronous schedule: a weighted spike has no meaning before its train is complete",
        )  # fmt: skip
        require(synchronous or self.leak == 1, "leak", self.leak, "1 unless the schedule is synchronous")
        require(
            self.coding != "ternary" or self.signed_activations, "signed_activations", self.signed_activations,
            "true beside ternary coding, which has negative digits",
        )  # fmt: skip

    def _require_guidance(self) -> None:
        known = known_groups(self.segments)
        for group, factor in by_group(self.guidance).items():
            require(group in known, "guidance", group, "groups among " + ", ".join(known))
            require(
                is_number(factor, 0) and factor > 0,
                "guidance",
                self.guidance,
                "factors that are finite numbers above 0",
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from JSON or TOML values.

        Raises:
            SpecError: unknown field, or a value out of range.
        """
        return build(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values; `from_dict` restores an equal spec."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
