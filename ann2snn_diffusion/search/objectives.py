"""What threshold guidance is judged by: deterministic functions of a network, by common random numbers.

An objective draws rows, one for every state or image, from whatever the network's guidance is at the time, always for
the same states or from the same noise; and scores rows. So two guidances are compared in pairs, and a bootstrap over
rows tells how much of their difference is chance. Rows are shared among processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.data.datasets import RealImages
from ann2snn_diffusion.diffusion.sampling import NotFiniteError, choose_scheduler, sample, to_pixels
from ann2snn_diffusion.diffusion.trajectories import record, spread_over_segments
from ann2snn_diffusion.evaluation.features import FeatureImages
from ann2snn_diffusion.evaluation.image_quality import fid, kid
from ann2snn_diffusion.evaluation.noise_levels import LEVEL_STARTS
from ann2snn_diffusion.evaluation.real_data import RealData
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.spiking.neuron import analog
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.states import add_noise

SAMPLER_STEPS = 25
STATES_PER_TRAJECTORY = 4
SEARCHED, JUDGED = 2, 3
"""Streams of random numbers: of the states that a search sees, and of those that it is judged on."""
FIRST_IMAGE = {SEARCHED: 1_000_000, JUDGED: 2_000_000}
"""Added to the seed of images: far from those that `a2s evaluate` draws."""


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


@dataclass(frozen=True)
class States:
    """Noisy states, their noise levels and labels."""

    states: Tensor
    diffusion_timesteps: Tensor
    class_labels: Tensor | None

    def part(self, rows: slice) -> tuple[Tensor, Tensor, Tensor | None]:
        """The arguments of a U-Net for some rows."""
        labels = None if self.class_labels is None else self.class_labels[rows]
        return self.states[rows], self.diffusion_timesteps[rows], labels


def objective_of(
    converted: Converted,
    spec: SearchSpec,
    part: int,
    process: PartialState,
    real: RealData | None = None,
    images: RealImages | None = None,
    track: Track = silent,
) -> Objective:
    """The objective that ``spec`` names.

    Args:
        part: SEARCHED or JUDGED; they share no state and no image.
        real: for fid and kid.
        images: for denoise.

    Raises:
        ObjectiveError, SamplingError: see `require_possible`.
    """
    require_possible(converted, spec, real, images)
    if real is not None and spec.objective in ("fid", "kid"):
        return _distance(converted, spec, part, process, real)
    if images is not None and spec.objective == "denoise":
        return _denoise(converted, spec, part, process, images)
    return _epsilon(converted, spec, part, process, track)


def require_possible(
    converted: Converted, spec: SearchSpec, real: RealData | None = None, images: RealImages | None = None
) -> None:
    """Check that an objective can be computed, in the search and on held-out rows, before any work is done.

    Raises:
        ObjectiveError: real images are needed and not there, or too few; too few states or images are asked for; more
            denoising steps than the scheduler has.
        SamplingError: unknown scheduler.
    """
    name = spec.objective
    least, why = 1, ""
    if name == "epsilon":
        least, why = len(_levels(converted)), "a state in each noise level"
    elif name == "denoise":
        if images is None:
            raise ObjectiveError("objective = 'denoise': expected images; name them with --data.")
        if len(images) < spec.searched + spec.judged:
            raise ObjectiveError(
                f"{images.name}: {len(images)} images; denoise needs {spec.searched + spec.judged}, "
                f"{spec.searched} to search with (count) and {spec.judged} others to judge by (held_out)."
            )
    else:
        if real is None:
            raise ObjectiveError(f"objective = {name!r}: expected real images; name them with --data.")
        if name == "fid":
            least, why = real.network.width + 1, f"more images than the {real.network.width} features"
        most = choose_scheduler(converted.scheduler, spec.scheduler).config.num_train_timesteps
        if spec.steps > most:
            raise ObjectiveError(f"steps = {spec.steps}: expected at most {most}, the scheduler's diffusion timesteps.")
    for field, count in (("count", spec.searched), ("held_out", spec.judged)):
        if count < least:
            raise ObjectiveError(f"{field} = {count}: expected at least {least}: {name} needs {why}.")


def _levels(converted: Converted) -> list[int]:
    scheduler: Any = converted.scheduler
    return [start for start in LEVEL_STARTS if start < len(scheduler.alphas_cumprod)]


def sampling_states(unet: SpikingUNet2DModel, scheduler: Any, count: int, seed: int, part: int, track: Track) -> States:
    """States of the ANN's own sampling, equally many in each noise level."""
    generator = stream(seed, part)
    images = -(-count // STATES_PER_TRAJECTORY)
    trajectories = record(
        unet.ann(), scheduler, images, SAMPLER_STEPS, generator, track("ANN trajectories", SAMPLER_STEPS)
    )
    last = len(trajectories.alphas_cumprod)
    diffusion_timesteps = spread_over_segments(LEVEL_STARTS, last, count, generator).to(unet.device)
    rows = torch.randint(images, (count,), generator=generator).to(unet.device)
    states, labels = trajectories.states(rows, diffusion_timesteps)
    return States(states, diffusion_timesteps, labels)


def _count(spec: SearchSpec, part: int) -> int:
    return spec.searched if part == SEARCHED else spec.judged


def _epsilon(converted: Converted, spec: SearchSpec, part: int, process: PartialState, track: Track) -> Objective:
    """Geometric mean over noise levels of Σ(ε_SNN − ε_ANN)² / Σε_ANN²: a percent counts the same in all of them.

    Errors differ by a factor of 500 between noise levels; in their sum those at high noise, which cost FID, vanish.
    """
    unet, count, levels = converted.unet, _count(spec, part), _levels(converted)
    states = sampling_states(unet, converted.scheduler, count, spec.seed, part, track)
    level = torch.bucketize(states.diffusion_timesteps.cpu(), torch.tensor(levels[1:]), right=True)

    def predict(network: SpikingUNet2DModel) -> Tensor:
        def some(rows: slice) -> Tensor:
            return network(*states.part(rows)).sample.cpu()

        return shared(some, count, spec.batch_size, process)

    with analog(unet):
        target = predict(unet)
    powers = target.square().sum((1, 2, 3))

    def draw(network: SpikingUNet2DModel) -> Tensor:
        errors = (predict(network) - target).square().sum((1, 2, 3))
        return torch.stack([errors, powers, level], 1)

    return Objective("relative ε error", draw, error_over_levels)


def error_over_levels(rows: Tensor) -> float:
    """Geometric mean over noise levels of Σ errors / Σ powers; rows [N, 3] of error, power and index of the level."""
    errors, powers, level = rows.double().unbind(1)
    sums = [torch.zeros(int(level.max()) + 1).double().index_add(0, level.long(), part) for part in (errors, powers)]
    present = sums[1] > 0  # a bootstrap may miss a level
    return (sums[0][present] / sums[1][present]).log().mean().exp().item()


def _denoise(converted: Converted, spec: SearchSpec, part: int, process: PartialState, images: RealImages) -> Objective:
    """The DDPM loss (arXiv 2006.11239, eq. 14)."""
    order = torch.randperm(len(images), generator=stream(spec.seed, SEARCHED)).tolist()
    rows = order[: spec.searched] if part == SEARCHED else order[spec.searched : spec.searched + spec.judged]
    pixels = torch.stack([images[row] for row in rows])
    noisy = add_noise(pixels, converted.unet, converted.scheduler, stream(spec.seed, part))
    states = States(noisy.states, noisy.diffusion_timesteps, noisy.class_labels)

    def draw(network: SpikingUNet2DModel) -> Tensor:
        def some(rows: slice) -> Tensor:
            predicted = network(*states.part(rows)).sample
            return (predicted - noisy.target[rows]).square().mean((1, 2, 3)).cpu()

        return shared(some, len(rows), spec.batch_size, process)

    return Objective("DDPM loss", draw, lambda losses: losses.mean().item())


def _distance(converted: Converted, spec: SearchSpec, part: int, process: PartialState, real: RealData) -> Objective:
    """FID or KID of images drawn from equal noise, as an evaluation computes them."""
    count = _count(spec, part)
    scheduler = choose_scheduler(converted.scheduler, spec.scheduler)
    first = FIRST_IMAGE[part] + spec.seed

    def draw(network: SpikingUNet2DModel) -> Tensor:
        def some(rows: slice) -> Tensor:
            try:
                return drawn_features(network, scheduler, rows, spec.steps, first, real)
            except NotFiniteError:
                return torch.full((rows.stop - rows.start, real.network.width), torch.nan)

        return shared(some, count, spec.batch_size, process)

    if spec.objective == "fid":
        return Objective("FID", draw, lambda features: fid(features, real.reference))
    return Objective("KID", draw, lambda features: kid(features, real.reference, spec.seed)[0])


def drawn_features(
    network: UNet2DModel,
    scheduler: Any,
    rows: slice,
    steps: int,
    seed: int,
    real: RealData,
    advance: Callable[[], None] = lambda: None,
) -> Tensor:
    """Features [N, D] of the images ``rows`` of all that a network draws; image i is seeded with ``seed`` + i.

    Raises:
        NotFiniteError: images are not finite.
    """
    size = rows.stop - rows.start
    images = sample(network, scheduler, size, steps, seed + rows.start, size, advance)
    return real.network(FeatureImages(to_pixels(images))).pooled


@torch.no_grad()
def shared(some: Callable[[slice], Tensor], count: int, batch_size: int, process: PartialState) -> Tensor:
    """``some`` rows at a time, every process its batches; all of them, in order, in every process."""
    batches = [slice(first, min(first + batch_size, count)) for first in range(0, count, batch_size)]
    mine = range(process.process_index, len(batches), process.num_processes)
    found: dict[int, Tensor] = dict(gather_object([(index, some(batches[index])) for index in mine]))
    return torch.cat([found[index] for index in range(len(batches))])
