"""A training step's forward and backward pass: every loss, and the gradients that they leave in the parameters."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.diffusion.noisy_states import NoisyImages, NoisyStates
from ann2snn_diffusion.training import losses
from ann2snn_diffusion.training.learner import Learner
from ann2snn_diffusion.training.spec import TrainingSpec


@dataclass(frozen=True)
class Differentiated:
    """What a forward and backward pass found; nothing here has a gradient any more.

    Attributes:
        loss: what was differentiated, a number.
        terms: all losses that have a weight, numbers or one for each image.
        predicted, target: ε of SNN and ANN, [B, C, H, W].
    """

    loss: Tensor
    terms: dict[str, Tensor]
    predicted: Tensor
    target: Tensor


Differentiate = Callable[[NoisyStates], Differentiated]
"""Adds the gradients of a batch to those that the parameters have."""


def differentiate(
    learner: Learner, ann: UNet2DModel, spec: TrainingSpec, accelerator: Accelerator, batch: NoisyStates
) -> Differentiated:
    """One forward and backward pass of ``batch``."""
    terms, predicted, target = loss_terms(learner, ann, spec, accelerator, batch)
    weights = vars(spec) | ({"energy": learner.budget.weight} if learner.budget else {})
    loss = torch.stack([weights[name] * term.mean() for name, term in terms.items()]).sum()
    accelerator.backward(loss)
    terms = {name: term.detach() for name, term in terms.items()}
    return Differentiated(loss.detach(), terms, predicted.detach().float(), target)


def loss_terms(
    learner: Learner, ann: UNet2DModel, spec: TrainingSpec, accelerator: Accelerator, batch: NoisyStates
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """All losses that have a weight, numbers or one for each image, and what SNN and ANN predicted, [B, C, H, W]."""
    student: Any = accelerator.unwrap_model(learner.network)
    arguments = batch.arguments()
    labelled = spec.distill or spec.blockwise or not isinstance(batch, NoisyImages)
    watched = losses.block_outputs(ann) if spec.blockwise else nullcontext({})
    with torch.no_grad(), accelerator.autocast(), watched as expected:
        target = ann(*arguments).sample.float() if labelled else batch.states
    with (
        losses.block_outputs(student) if spec.blockwise else nullcontext({}) as found,
        losses.firing_rates(student) if spec.firing_rate else nullcontext({}) as rates,
        learner.budget.listening(student) if learner.budget else nullcontext({}) as costs,
    ):
        predicted = learner.network(*arguments).sample
    terms = {}
    if spec.distill:
        terms["distill"] = losses.distill(predicted, target)
    if spec.blockwise:
        terms["blockwise"] = losses.blockwise(found, expected)
    if spec.denoise and isinstance(batch, NoisyImages):
        terms["denoise"] = losses.denoise(predicted[:, : batch.target.shape[1]], batch.target)
    if spec.firing_rate:
        terms["firing_rate"] = torch.stack(list(rates.values())).mean()
    if learner.budget:
        terms["energy"] = learner.budget.spent(costs)
    return terms, predicted, target
