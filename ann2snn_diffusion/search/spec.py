"""SearchSpec: how threshold guidance is searched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ann2snn_diffusion.common.specs import check, require, setting

Dimension = Literal["segment", "stage", "kind", "step"]
"""As `ann2snn_diffusion.spiking.guidance` names them."""
OptimizerName = Literal["", "bounded", "grid", "powell", "nelder-mead", "cobyqa", "differential-evolution", "direct"]
"""As `ann2snn_diffusion.search.optimizers` names them."""
Goal = Literal["objective", "energy"]
"""What is to be least."""
ObjectiveName = Literal["epsilon", "denoise", "fid", "kid"]
COUNTS: dict[str, int] = {"epsilon": 112, "denoise": 256, "fid": 512, "kid": 512}
"""States or images behind one value, unless told."""
HELD_OUT: dict[str, int] = {"epsilon": 4, "denoise": 4, "fid": 1, "kid": 1}
"""How many times as many are behind the verdict, unless told."""
FEWEST_HELD_OUT = 14
"""Rows that an interval is bootstrapped from at the least."""
NARROWEST = 1e-3
"""Least bound, and least distance between bounds."""
BOUNDS = f"two ascending numbers, from {NARROWEST} on and as far apart"


@dataclass(frozen=True)
class SearchSpec:
    """What is tried, and what it is judged by.

    Raises:
        SpecError: a field out of range, or fields that contradict each other.
    """

    by: tuple[Dimension, ...] = setting(
        (), "Dimensions that have a factor for each of their groups; none: one factor for all sites."
    )
    optimizer: OptimizerName = setting(
        "", "SciPy's optimizer; left out: bounded for one factor, cobyqa for several. bounded cannot do several."
    )
    bounds: tuple[float, float] = setting(
        (0.9, 1.1), "Range of every factor; 1 lies within.", at_least=NARROWEST, in_words=BOUNDS
    )
    evaluations: int = setting(40, "Settings of the factors that are tried at most, factor 1 included.", at_least=2)
    minutes: float = setting(
        0, "Minutes over all runs after which no more settings are tried; 0: no limit.", at_least=0
    )
    objective: ObjectiveName = setting(
        "epsilon",
        "epsilon: relative error to the ANN's ε on sampling states, geometric mean over noise strata. denoise: the "
        "DDPM loss, needs `data`. fid, kid: of images drawn.",
    )
    count: int = setting(
        0, "States or images behind a value; 0: 112 for epsilon, 256 for denoise, 512 for fid and kid.", at_least=0
    )
    held_out: int = setting(
        0,
        "Other states or images that the winner is judged on; 0: four times `count` for epsilon and denoise, as many "
        "for fid and kid.",
        at_least=0,
    )
    goal: Goal = setting(
        "objective",
        "objective: the least objective. energy: the fewest spikes, where the objective is hardly worse; stored unless "
        "held-out data tell that it is.",
    )
    tolerance: float = setting(
        0.01, "How much worse the objective may be in a search of fewest spikes, relative to factor 1.", at_least=0
    )
    energy: float = setting(0, "Weight of relative spikes per image beside the relative objective.", at_least=0)
    scheduler: str = setting(
        "ddim", "Sampler of fid and kid: ddpm, ddim, pndm and the like.", in_words="a name such as ddim"
    )
    steps: int = setting(25, "Denoising steps of fid and kid.", at_least=1)
    batch_size: int = setting(64, "States or images at a time.", at_least=1)
    sampler_steps: int = setting(25, "DDIM steps of the trajectories that states come from.", at_least=1, at_most=1000)
    bootstrap: int = setting(200, "Resamples behind the verdict's interval.", at_least=2)
    seed: int = setting(0, "Seed of all states, images and of the optimizer.", at_least=0, at_most=2**63 - 1)

    def __post_init__(self) -> None:
        check(self)
        require(len(set(self.by)) == len(self.by), "by", self.by, "each dimension once")
        single = self.optimizer == "bounded" and self.by
        require(not single, "optimizer", self.optimizer, "another one beside `by`: bounded finds one factor only")
        require(self.bounds[0] + NARROWEST <= self.bounds[1], "bounds", self.bounds, BOUNDS)
        require(
            self.bounds[0] <= 1 <= self.bounds[1], "bounds", self.bounds,
            "a range around 1: the unguided network is what every factor is compared with",
        )  # fmt: skip
        both = self.goal == "energy" and self.energy
        require(not both, "energy", self.energy, "0 beside goal = energy, where spikes alone are to be fewest")
        require(self.objective != "kid" or self.seed < 2**32, "seed", self.seed, "less than 2³² beside kid")
        fewest = self.judged >= FEWEST_HELD_OUT
        require(fewest, "held_out", self.judged, f"at least {FEWEST_HELD_OUT}: fewer give no interval")

    @property
    def chosen_optimizer(self) -> str:
        """The optimizer in use."""
        return self.optimizer or ("cobyqa" if self.by else "bounded")

    @property
    def searched(self) -> int:
        """States or images behind one value."""
        return self.count or COUNTS[self.objective]

    @property
    def judged(self) -> int:
        """States or images behind the verdict."""
        return self.held_out or HELD_OUT[self.objective] * self.searched

    def amount(self, part: Literal["searched", "judged"]) -> int:
        """States or images behind one value of either part."""
        return self.searched if part == "searched" else self.judged

    @property
    def passes(self) -> int:
        """Forward passes of a search, if all its evaluations are made."""
        steps = self.steps if self.objective in ("fid", "kid") else 1
        return self.evaluations * math.ceil(self.searched / self.batch_size) * steps
