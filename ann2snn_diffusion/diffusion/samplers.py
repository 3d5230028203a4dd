"""From noise to images: the loop of each kind of sampler."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import singledispatch
from typing import Any

import torch
from diffusers import CMStochasticIterativeScheduler, DDIMScheduler, ScoreSdeVeScheduler
from torch import Tensor

from ann2snn_diffusion.common.progress import Advance
from ann2snn_diffusion.diffusion.noise_levels import sampler_timesteps
from ann2snn_diffusion.diffusion.noise_schedule import noise_schedule
from ann2snn_diffusion.diffusion.steps import heun

Network = Callable[[Tensor, Tensor], Tensor]
"""What a network predicts for its input [N, C, H, W], told one value for all rows, or one for each."""


class HeunVeScheduler(ScoreSdeVeScheduler):
    """The noise levels of a variance exploding model, for EDM's Heun steps (arXiv 2206.00364, algorithm 1)."""


def samplers(scheduler: Any) -> dict[str, Any]:
    """Classes of samplers that share a scheduler's noise levels, by name; the first one is for few steps."""
    if isinstance(scheduler, ScoreSdeVeScheduler):
        kinds = [HeunVeScheduler, ScoreSdeVeScheduler]
    elif isinstance(scheduler, CMStochasticIterativeScheduler):
        kinds = [CMStochasticIterativeScheduler]
    else:
        kinds = [DDIMScheduler, *scheduler.compatibles]
    return {sampler_name(kind): kind for kind in kinds}


def sampler_name(kind: type) -> str:
    """``ddim`` of DDIMScheduler."""
    return kind.__name__.removesuffix("Scheduler").lower()


@singledispatch
def denoise(
    sampler: Any, network: Network, noise: Tensor, steps: int, generators: list[torch.Generator], advance: Advance
) -> Tensor:
    """Images [N, C, H, W] in [−1, 1], from white noise in ``steps`` steps; each row draws from its own generator."""
    sampler.set_timesteps(steps)
    state = noise * sampler.init_noise_sigma
    takes_variance = "variance_type" in inspect.signature(type(sampler)).parameters and str(
        sampler.config.variance_type
    ).startswith("learned")
    channels = None if takes_variance else noise.shape[1]
    seeded = {"generator": generators} if "generator" in inspect.signature(sampler.step).parameters else {}
    for diffusion_timestep in sampler.timesteps:
        predicted = network(sampler.scale_model_input(state, diffusion_timestep), diffusion_timestep)
        state = sampler.step(predicted[:, :channels], diffusion_timestep, state, **seeded).prev_sample
        advance()
    return state


@denoise.register
def _predict_and_correct(
    sampler: ScoreSdeVeScheduler, network: Network, noise: Tensor, steps: int, generators: Any, advance: Advance
) -> Tensor:
    """As `ScoreSdeVePipeline` (arXiv 2011.13456, algorithm 1), where the corrector's step is each image's own."""
    sampler.set_timesteps(steps)
    sampler.set_sigmas(steps)
    state = mean = noise * sampler.init_noise_sigma
    times: Any = sampler.timesteps
    for time, sigma in zip(times, sampler.sigmas.to(noise.device), strict=True):
        for _ in range(sampler.config["correct_steps"]):
            rows = zip(network(state, sigma).split(1), state.split(1), generators, strict=True)
            corrected: list[Any] = [sampler.step_correct(*row) for row in rows]
            state = torch.cat([one.prev_sample for one in corrected])
        predicted: Any = sampler.step_pred(network(state, sigma), time, state, generators)
        state, mean = predicted.prev_sample, predicted.prev_sample_mean
        advance()
    return 2 * mean - 1


@denoise.register
def _heun(
    sampler: HeunVeScheduler, network: Network, noise: Tensor, steps: int, generators: Any, advance: Advance
) -> Tensor:
    del generators
    schedule, starts = noise_schedule(sampler), sampler_timesteps(sampler, steps).to(noise.device)

    def predict(states: Tensor, diffusion_timesteps: Tensor) -> Tensor:
        return network(*schedule.asked(states, diffusion_timesteps))

    state = images = noise * schedule.prior
    for start, following in zip(starts, [*starts[1:], starts[-1]], strict=True):
        piece = heun(predict, sampler, state, start.expand(len(noise)), following.expand(len(noise)))
        state, images = piece.end, piece.images
        advance()
    return 2 * images - 1
