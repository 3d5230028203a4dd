"""SearchSpec: how threshold guidance is searched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ann2snn_diffusion.common.specs import is_number, require, require_whole
from ann2snn_diffusion.search.optimizers import OPTIMIZERS
from ann2snn_diffusion.spiking.guidance import DIMENSIONS

ObjectiveName = Literal["epsilon", "denoise", "fid", "kid"]
COUNTS: dict[str, int] = {"epsilon": 112, "denoise": 256, "fid": 512, "kid": 512}
"""States or images behind one value, unless told."""
HELD_OUT: dict[str, int] = {"epsilon": 4, "denoise": 4, "fid": 1, "kid": 1}
"""How many times as many are behind the verdict, unless told."""
FEWEST_HELD_OUT = 14
"""Rows that an interval is bootstrapped from at the least."""
NARROWEST = 1e-3
"""Least bound, and least distance between bounds."""


@dataclass(frozen=True)
class SearchSpec:
    """What is tried, and what it is judged by.

    Raises:
        SpecError: a field out of range, or fields that contradict each other.
    """

    by: tuple[str, ...] = ()
    """Dimensions that have a factor for each of their groups: segment, stage, kind. Empty: one factor for all sites."""
    optimizer: str = ""
    """As `ann2snn_diffusion.search.optimizers` names them; empty: bounded for one factor, cobyqa for several."""
    bounds: tuple[float, float] = (0.9, 1.1)
    """Range of every factor; 1 lies within."""
    evaluations: int = 40
    """Settings of the factors that are tried at most, factor 1 included."""
    minutes: float = 0
    """Time over all runs after which no more are tried; 0: no limit."""
    objective: ObjectiveName = "epsilon"
    """epsilon: relative error to the ANN's ε on sampling states, geometric mean over noise levels. denoise: the DDPM
    loss on images. fid, kid: of images drawn."""
    count: int = 0
    """States or images behind one value; 0: 112 for epsilon, 256 for denoise, 512 for fid and kid."""
    held_out: int = 0
    """Other states or images that the winner is judged on; 0: four times ``count`` for epsilon and denoise, as many for
    fid and kid."""
    energy: float = 0
    """Weight of relative spikes per image beside the relative objective."""
    scheduler: str = "ddim"
    """Sampler of fid and kid, as `choose_scheduler` names them."""
    steps: int = 25
    """Its denoising steps."""
    batch_size: int = 64
    """States or images at a time."""
    bootstrap: int = 200
    """Resamples behind the verdict's interval."""
    seed: int = 0
    """Of all states, images and of the optimizer."""

    def __post_init__(self) -> None:
        require(isinstance(self.by, tuple), "by", self.by, "a list of dimensions: " + ", ".join(DIMENSIONS))
        for name in self.by:
            require(name in DIMENSIONS, "by", name, "one of " + ", ".join(DIMENSIONS))
        require(len(set(self.by)) == len(self.by), "by", self.by, "each dimension once")
        require(self.optimizer in ("", *OPTIMIZERS), "optimizer", self.optimizer, "one of " + ", ".join(OPTIMIZERS))
        single = self.optimizer == "bounded" and self.by
        require(not single, "optimizer", self.optimizer, "another one beside --by: bounded finds one factor only")
        pair = isinstance(self.bounds, tuple) and len(self.bounds) == 2
        numbers = pair and all(is_number(bound, NARROWEST) for bound in self.bounds)
        apart = numbers and self.bounds[0] + NARROWEST <= self.bounds[1]
        require(apart, "bounds", self.bounds, f"two ascending numbers, from {NARROWEST} on and as far apart")
        require(
            self.bounds[0] <= 1 <= self.bounds[1], "bounds", self.bounds,
            "a range around 1: the unguided network is what every factor is compared with",
        )  # fmt: skip
        choices = get_args(ObjectiveName)
        require(self.objective in choices, "objective", self.objective, "one of " + ", ".join(choices))
        for field in ("minutes", "energy"):
            require(is_number(getattr(self, field), 0), field, getattr(self, field), "a finite number from 0")
        require(isinstance(self.scheduler, str), "scheduler", self.scheduler, "a name such as ddim")
        lowest = {"evaluations": 2, "count": 0, "held_out": 0, "steps": 1, "batch_size": 1, "bootstrap": 2, "seed": 0}
        require_whole(self, lowest)
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
