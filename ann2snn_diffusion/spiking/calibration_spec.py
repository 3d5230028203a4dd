"""CalibrationSpec: how thresholds and corrections are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ann2snn_diffusion.common.specs import check, require, setting
from ann2snn_diffusion.spiking.spec import SpikeSpec

ENERGY = 0.25
"""Where the front of error over energy bends: below it an error costs dear, above it little is left to gain."""
Method = Literal["least-squares", "max", "percentile"]
Per = Literal["channel", "tensor"]


@dataclass(frozen=True)
class CalibrationSpec:
    """How thresholds and corrections are found.

    Raises:
        SpecError: a field out of range.
    """

    method: Method = setting(
        "least-squares",
        "least-squares: minimal squared error, with offset. max, percentile: the literature's baselines, offset 0.",
    )
    energy: float | None = setting(
        None,
        "Share of the ANN's energy that the network's synapses may spend: the network of least error that spends as "
        "much; 0: no budget. Default: 0.25 with sparse radix coding, where the front of error over energy bends, and "
        "no budget otherwise.",
        at_least=0,
        at_most=1,
    )
    costs: str = setting("horowitz-45nm", "What an operation costs: horowitz-45nm, int8, int8-int32, or a TOML file.")
    percentile: float = setting(
        99.9,
        "Percent of the magnitudes that lie below the highest level; `method` percentile only.",
        above=0,
        at_most=100,
    )
    per: Per = setting("channel", "One threshold per channel, or one for all channels of a site.")
    correction: float = setting(
        0.3, "Relative ridge strength of the synapses' correction; 0: leave the weights alone.", at_least=0
    )
    states: int | None = setting(
        None,
        "Noisy images that are calibrated on, all in memory at once. Default: 352, or as many as hold 850 MiB of "
        "activations, and at least one for each noise segment.",
        at_least=1,
    )
    positions: int = setting(1024, "Positions per site and noise segment that thresholds are solved from.", at_least=1)
    sampler_steps: int = setting(
        25, "DDIM steps of the trajectories that the states come from.", at_least=1, at_most=1000
    )
    seed: int = setting(
        0, "Seed of the states and of the positions that thresholds are solved from.", at_least=0, at_most=2**63 - 1
    )

    def __post_init__(self) -> None:
        check(self)
        if self.energy:
            require(self.method == "least-squares", "energy", self.energy, "none beside another `method`")
            require(self.per == "channel", "energy", self.energy, "none beside `per` tensor")

    def budget(self, spec: SpikeSpec) -> float:
        """The energy, or its default beside ``spec``."""
        if self.energy is not None:
            return self.energy
        sparse = spec.coding == "radix" and spec.sparse
        return ENERGY if sparse and self.method == "least-squares" and self.per == "channel" else 0
