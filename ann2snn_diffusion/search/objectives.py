"""What threshold guidance is judged by: deterministic functions of a network, by common random numbers.

An objective draws rows, one for every state or image, from whatever the network's guidance is at the time, always for
the same states or from the same noise; and scores rows. So two guidances are compared in pairs, and a bootstrap over
rows tells how much of their difference is chance. Rows are shared among processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.common.progress import Advance, Track, idle, silent
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.data.datasets import RealImages
from ann2snn_diffusion.diffusion.noise_schedule import require_betas
from ann2snn_diffusion.diffusion.noising import predicted_noise
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates, add_noise
from ann2snn_diffusion.diffusion.sampling import Drawing, NotFiniteError, choose_scheduler, sample, to_pixels
from ann2snn_diffusion.diffusion.trajectories import StatesSpec, sampling_states
from ann2snn_diffusion.evaluation.class_shares import class_shares
from ann2snn_diffusion.evaluation.features import FeatureImages
from ann2snn_diffusion.evaluation.image_quality import fid, kid
from ann2snn_diffusion.evaluation.noise_strata import strata_bounds, stratum_of
from ann2snn_diffusion.evaluation.real_data import RealData
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

SEARCH_STATES_PER_TRAJECTORY = 4
Part = Literal["searched", "judged"]
"""What a search sees, and what it is judged on: they share no state and no image."""
FIRST_IMAGE: dict[Part, int] = {"searched": 1_000_000, "judged": 2_000_000}
"""Added to the seed of images: far from those that `a2s evaluate` draws."""
Data = RealData | RealImages | NoisyStates
"""What an objective is measured on: for fid and kid features of real images, for denoise images, for epsilon states."""


class ObjectiveError(A2SError):
    """An objective that cannot be computed from what there is."""


@dataclass(frozen=True)
class Objective:
    """A figure to be minimised."""

    name: str
    draw: Callable[[SpikingUNet2DModel], Tensor]
    """Rows [N, …] on the CPU; NaN where the network gave nothing finite."""
    score: Callable[[Tensor], float]
    """The figure from rows that are finite."""

    def value(self, rows: Tensor) -> float:
        """The figure from rows; NaN where any is not finite."""
        return self.score(rows) if torch.isfinite(rows).all() else math.nan


def states_of(
    unet: SpikingUNet2DModel, scheduler: Any, spec: SearchSpec, part: Part, track: Track = silent
) -> NoisyStates:
    """States of the ANN's own sampling, equally many in each noise stratum: at least one, else as many as are asked."""
    starts = strata_bounds(scheduler)[:-1]
    count = spec.amount(part) if spec.objective == "epsilon" else len(starts)
    wanted = StatesSpec(count, starts, SEARCH_STATES_PER_TRAJECTORY, spec.sampler_steps)
    with analog(unet):
        return sampling_states(unet, scheduler, wanted, stream(part, spec.seed), track)


def objective_of(
    unet: SpikingUNet2DModel, scheduler: Any, spec: SearchSpec, part: Part, data: Data, process: PartialState
) -> Objective:
    """The objective that ``spec`` names, on ``data``, which `require_possible` accepts."""
    if isinstance(data, RealData):
        return _distance(scheduler, spec, part, data, class_shares(unet, data), process)
    if isinstance(data, RealImages):
        return _denoise(unet, scheduler, spec, part, data, process)
    return _epsilon(unet, scheduler, spec, data, process)


def require_possible(scheduler: Any, spec: SearchSpec, data: RealData | RealImages | None) -> None:
    """Check that an objective can be computed, in the search and on held-out rows, before any work is done.

    Raises:
        ObjectiveError: real images are needed and not there, or too few; too few states or images are asked for; more
            denoising steps than the scheduler has.
        SamplingError: unknown scheduler.
        ScheduleError: a scheduler without a β schedule.
    """
    require_betas(scheduler, "a search of thresholds")
    name = spec.objective
    least, why = 1, ""
    if name == "epsilon":
        if data is not None:
            raise ObjectiveError("objective = 'epsilon': expected no data: it is measured on the ANN's states.")
        least, why = len(strata_bounds(scheduler)) - 1, "a state in each noise stratum"
    elif name == "denoise":
        if not isinstance(data, RealImages):
            raise ObjectiveError("objective = 'denoise': expected images; name them with `data`.")
        if len(data) < spec.searched + spec.judged:
            raise ObjectiveError(
                f"{data.name}: {len(data)} images; denoise needs {spec.searched + spec.judged}, "
                f"{spec.searched} to search with (`count`) and {spec.judged} others to judge by (`held_out`)."
            )
    else:
        if not isinstance(data, RealData):
            raise ObjectiveError(f"objective = {name!r}: expected real images; name them with `data`.")
        if name == "fid":
            least, why = data.network.width + 1, f"more images than the {data.network.width} features"
        most = choose_scheduler(scheduler, spec.scheduler).config.num_train_timesteps
        if spec.steps > most:
            raise ObjectiveError(f"steps = {spec.steps}: expected at most {most}, the scheduler's diffusion timesteps.")
    for field, count in (("count", spec.searched), ("held_out", spec.judged)):
        if count < least:
            raise ObjectiveError(f"{field} = {count}: expected at least {least}: {name} needs {why}.")


def _epsilon(
    unet: SpikingUNet2DModel, scheduler: Any, spec: SearchSpec, states: NoisyStates, process: PartialState
) -> Objective:
    """Geometric mean over noise strata of Σ(ε_SNN − ε_ANN)² / Σε_ANN²: a percent counts the same in all of them.

    Errors differ by a factor of 500 between strata; in their sum those at high noise, which cost FID, vanish.
    """
    stratum = stratum_of(states.diffusion_timesteps, strata_bounds(scheduler))

    def predict(network: SpikingUNet2DModel) -> Tensor:
        def some(rows: slice) -> Tensor:
            some = states.arguments(rows)
            return predicted_noise(scheduler, network(*some).sample, *some[:2]).cpu()

        return shared(some, len(states), spec.batch_size, process)

    with analog(unet):
        target = predict(unet)
    powers = target.square().sum((1, 2, 3))

    def draw(network: SpikingUNet2DModel) -> Tensor:
        errors = (predict(network) - target).square().sum((1, 2, 3))
        return torch.stack([errors, powers, stratum], 1)

    return Objective("relative ε error", draw, error_over_strata)


def error_over_strata(rows: Tensor) -> float:
    """Geometric mean over noise strata of Σ errors / Σ powers; rows [N, 3] of error, power and index of the stratum."""
    errors, powers, stratum = rows.double().unbind(1)
    sums = [torch.zeros(int(stratum.max()) + 1).double().index_add(0, stratum.long(), part)
            for part in (errors, powers)]  # fmt: skip
    present = sums[1] > 0  # a bootstrap may miss a stratum
    return (sums[0][present] / sums[1][present]).log().mean().exp().item()


def _denoise(
    unet: SpikingUNet2DModel, scheduler: Any, spec: SearchSpec, part: Part, images: RealImages, process: PartialState
) -> Objective:
    """The DDPM loss (arXiv 2006.11239, eq. 14)."""
    order = torch.randperm(len(images), generator=stream("searched images", spec.seed)).tolist()
    chosen = order[: spec.searched] if part == "searched" else order[spec.searched : spec.searched + spec.judged]
    pixels = torch.stack([images[row] for row in chosen])
    noisy = add_noise(pixels, unet, scheduler, stream(part, spec.seed))

    def draw(network: SpikingUNet2DModel) -> Tensor:
        def some(rows: slice) -> Tensor:
            predicted = network(*noisy.arguments(rows)).sample[:, : noisy.target.shape[1]]
            return (predicted - noisy.target[rows]).square().mean((1, 2, 3)).cpu()

        return shared(some, len(noisy), spec.batch_size, process)

    return Objective("DDPM loss", draw, lambda losses: losses.mean().item())


def _distance(
    scheduler: Any, spec: SearchSpec, part: Part, real: RealData, shares: tuple[float, ...], process: PartialState
) -> Objective:
    """FID or KID of images drawn from equal noise, as an evaluation computes them."""
    seed = FIRST_IMAGE[part] + spec.seed
    drawing = Drawing(spec.amount(part), spec.steps, seed, spec.batch_size, class_shares=shares)
    sampler = choose_scheduler(scheduler, spec.scheduler)

    def draw(network: SpikingUNet2DModel) -> Tensor:
        def some(rows: slice) -> Tensor:
            try:
                return drawn_features(network, sampler, drawing, rows, real)
            except NotFiniteError:
                return torch.full((rows.stop - rows.start, real.network.width), torch.nan)

        return shared(some, drawing.count, spec.batch_size, process)

    if spec.objective == "fid":
        return Objective("FID", draw, lambda features: fid(features, real.reference))
    return Objective("KID", draw, lambda features: kid(features, real.reference, spec.seed)[0])


def drawn_features(
    network: UNet2DModel, sampler: Any, drawing: Drawing, rows: slice, real: RealData, advance: Advance = idle
) -> Tensor:
    """Features [N, D] of the images ``rows`` of all that a network draws.

    Raises:
        NotFiniteError: images are not finite.
    """
    images = sample(network, sampler, drawing.part(rows), advance)
    return real.network(FeatureImages(to_pixels(images))).pooled


@torch.no_grad()
def shared(some: Callable[[slice], Tensor], count: int, batch_size: int, process: PartialState) -> Tensor:
    """``some`` rows at a time, every process its batches; all of them, in order, in every process."""
    batches = [slice(first, min(first + batch_size, count)) for first in range(0, count, batch_size)]
    mine = range(process.process_index, len(batches), process.num_processes)
    found: dict[int, Tensor] = dict(gather_object([(index, some(batches[index])) for index in mine]))
    return torch.cat([found[index] for index in range(len(batches))])
