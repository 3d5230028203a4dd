"""What a scheduler says of its diffusion timesteps: the only place that knows kinds of schedulers.

Diffusion timesteps s = 0 … N − 1 count the noise levels of a schedule, from the least noise:

    x_s = √signal_s · x_0 + √noise_s · ε

| scheduler | signal | noise | the network sees | is told | predicts |
|---|---|---|---|---|---|
| with β (DDPM, arXiv 2006.11239) | ᾱ_s | 1 − ᾱ_s | x_s | s | ε, v or x_0 |
| ScoreSdeVe (arXiv 2011.13456) | 1 | σ_s² | x_s | σ_s | the score, −ε / σ_s |
| CMStochasticIterative (arXiv 2303.01469) | 1 | σ_s² | x_s / √(σ_s² + σ_data²) | 250 · ln σ_s | F, see `noising` |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Literal

import torch
from diffusers import CMStochasticIterativeScheduler, ScoreSdeVeScheduler
from torch import Tensor

from ann2snn_diffusion.common.errors import A2SError

Prediction = Literal["epsilon", "v_prediction", "sample", "score", "consistency"]
Walk = Literal["ddim", "heun", "consistency"]
RHO = 7.0
"""Of EDM's noise levels."""


class ScheduleError(A2SError):
    """A scheduler of a kind that this package does not know."""


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The N diffusion timesteps of a schedule, on the CPU."""

    signal: Tensor
    """[N]."""
    noise: Tensor
    """[N], ascending against ``signal``."""
    told: Tensor
    """What a network is told of each, ascending, [N]."""
    prediction: Prediction
    """What a network predicts."""
    walk: Walk
    """How trajectories go, see `steps`."""
    scale: Tensor | None = None
    """What x_s is multiplied by before a network sees it, [N]; None: nothing."""
    prior: float = 1.0
    """Standard deviation of the noise that sampling begins with."""
    darkest: float = -1.0
    """Black, in images x_0; white is 1."""

    def __len__(self) -> int:
        return len(self.noise)

    def noise_to_signal(self) -> Tensor:
        """Noise in units of the signal, σ², float64 [N]."""
        return (self.noise / self.signal).double()

    def asked(self, states: Tensor, diffusion_timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """What a network is given of x_s [N, C, H, W] at diffusion timesteps [N]: its input, and what it is told."""
        told = self.told.to(diffusion_timesteps.device)[diffusion_timesteps]
        if self.scale is None:
            return states, told
        return self.scale.to(states)[diffusion_timesteps].view(-1, 1, 1, 1) * states, told

    def starts(self, told: Sequence[float]) -> list[int]:
        """Diffusion timesteps where ranges start whose first values, as a network is told them, are given.

        The first range starts at 0; those beyond the schedule are left out.
        """
        found = torch.searchsorted(self.told, torch.tensor(told[1:], dtype=self.told.dtype)).tolist()
        return [0, *(start for start in found if start < len(self))]

    def first_told(self, starts: Sequence[int]) -> tuple[float, ...]:
        """What a network is told first in each range, in as many digits as it takes; of the first range at most 0."""
        told = self.told[torch.tensor(starts)].numpy()
        first, *others = (float(str(one)) if self.told.is_floating_point() else int(one) for one in told)
        return (min(0, first), *others)


@singledispatch
def noise_schedule(scheduler: Any) -> NoiseSchedule:
    """The noise schedule of a scheduler of diffusers.

    Raises:
        ScheduleError: it has no ᾱ, and is of no other kind that is known.
    """
    signal = getattr(scheduler, "alphas_cumprod", None)
    if signal is None:
        raise ScheduleError(f"{type(scheduler).__name__}: expected a scheduler with a β schedule, as of a DDPM, "
                            "or ScoreSdeVeScheduler or CMStochasticIterativeScheduler.")  # fmt: skip
    return NoiseSchedule(
        signal, 1 - signal, torch.arange(len(signal)), scheduler.config.get("prediction_type", "epsilon"), "ddim"
    )


@noise_schedule.register
def _variance_exploding(scheduler: ScoreSdeVeScheduler) -> NoiseSchedule:
    config: Any = scheduler.config
    least, most = math.log(config.sigma_min), math.log(config.sigma_max)
    sigma = torch.linspace(least, most, config.num_train_timesteps, dtype=torch.float64).exp().float()
    return NoiseSchedule(
        torch.ones_like(sigma), sigma.square(), sigma, "score", "heun", prior=config.sigma_max, darkest=0.0
    )


@noise_schedule.register
def _consistency(scheduler: CMStochasticIterativeScheduler) -> NoiseSchedule:
    config: Any = scheduler.config
    sigma = edm_levels(config.sigma_min, config.sigma_max, config.num_train_timesteps, config.rho)
    told, scale = 250 * sigma.log(), (sigma.square() + config.sigma_data**2).rsqrt()
    return NoiseSchedule(
        torch.ones_like(sigma).float(), sigma.square().float(), told.float(), "consistency", "consistency",
        scale.float(), config.sigma_max,
    )  # fmt: skip


def edm_levels(smallest: float, largest: float, count: int, rho: float = RHO) -> Tensor:
    """σ_i = (σ_min^(1/ρ) + i/(count − 1) · (σ_max^(1/ρ) − σ_min^(1/ρ)))^ρ, float64 [count] (EDM, eq. 5, ascending)."""
    return torch.linspace(smallest ** (1 / rho), largest ** (1 / rho), count, dtype=torch.float64) ** rho


def has_betas(scheduler: Any) -> bool:
    """Whether a scheduler is of DDPM's family."""
    return hasattr(scheduler, "alphas_cumprod")


def require_betas(scheduler: Any, what: str) -> None:
    """Refuse ``what``, a command in words, for a scheduler of another family than DDPM's.

    Raises:
        ScheduleError: names both.
    """
    if not has_betas(scheduler):
        raise ScheduleError(f"{type(scheduler).__name__}: {what} needs a scheduler with a β schedule, as of a DDPM.")
