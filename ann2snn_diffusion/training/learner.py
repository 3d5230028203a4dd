"""What moves with every optimiser step: parameters, their optimiser, its schedule, their moving average."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch import nn

from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.energy import EnergyBudget, budget_of
from ann2snn_diffusion.training.spec import TrainingSpec

SMALLEST_THRESHOLD = 1e-6
MOVED_ALIKE = 8
"""Units of charge, as far from 0 as many values are."""


@dataclass(frozen=True)
class Learner:
    """What moves with every optimiser step."""

    network: nn.Module
    """The spiking network as accelerate prepared it."""
    parameters: list[nn.Parameter]
    optimizer: Any
    schedule: Any
    average: EMAModel
    """Moving average of the parameters."""
    budget: EnergyBudget | None
    """What spikes weigh in the loss; None: nothing."""

    def parts(self, accelerator: Accelerator) -> dict[str, Any]:
        """All that has a state of its own, by name."""
        parts = {"network": accelerator.unwrap_model(self.network), "optimizer": self.optimizer}
        scaler = {"scaler": accelerator.scaler} if accelerator.scaler is not None else {}
        budget = {"budget": self.budget} if self.budget is not None else {}
        return parts | {"schedule": self.schedule, "average": self.average} | scaler | budget


def prepared(unet: SpikingUNet2DModel, scheduler: Any, spec: TrainingSpec, accelerator: Accelerator) -> Learner:
    """``unet``, with all that trains it, on the accelerator's device.

    Raises:
        SpecError, CostTableError: see `budget_of`.
    """
    nn.Module.to(unet, accelerator.device)
    budget = budget_of(unet, scheduler, spec)
    if spec.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    parameters = learnable(unet.train(), spec.learn)
    optimizer = ProportionalAdam(unet, spec)
    schedule = get_scheduler(
        spec.lr_scheduler, optimizer, num_warmup_steps=spec.lr_warmup_steps, num_training_steps=spec.steps
    )
    average = EMAModel(
        parameters, decay=spec.ema_max_decay, use_ema_warmup=True, inv_gamma=1, power=3 / 4, foreach=True
    )
    network, prepared = accelerator.prepare(unet, optimizer)
    average.to(accelerator.device)
    return Learner(network, parameters, prepared, schedule, average, budget)


def learnable(unet: SpikingUNet2DModel, learn: str) -> list[nn.Parameter]:
    """Set which parameters learn, and return them: an ANN weight with a correction beside it never does."""
    own = unet.own_parameters()
    corrected = {f"{name}.{parameter}" for name in unet.synapses() for parameter in ("weight", "bias")}
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_(name in own or (learn == "all" and name not in corrected))
    return [parameter for parameter in unet.parameters() if parameter.requires_grad]


class ProportionalAdam(torch.optim.AdamW):
    """Adam, by which thresholds and offsets move in units of their own, as they differ by orders of magnitude.

    Where it would move a parameter by Δ, a threshold becomes θ · e^Δ, and an offset moves the charge as far as that
    would move one of `MOVED_ALIKE` units: o + Δ · `MOVED_ALIKE` · unit.
    """

    def __init__(self, unet: SpikingUNet2DModel, spec: TrainingSpec) -> None:
        self.unet = unet
        own = [part for neuron in unet.neurons().values() for part in (neuron.threshold, neuron.offset)]
        known = {id(part) for part in own}
        rest = [part for part in unet.parameters() if part.requires_grad and id(part) not in known]
        groups = [
            {"params": own, "lr": spec.threshold_learning_rate or spec.learning_rate},
            {"params": rest, "lr": spec.learning_rate},
        ]
        super().__init__(groups, betas=(0.9, 0.99), weight_decay=0)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move all parameters."""
        neurons = self.unet.neurons().values()
        thresholds, offsets = ([getattr(neuron, part) for neuron in neurons] for part in ("threshold", "offset"))
        before, offsets_before = [one.clone() for one in thresholds], [one.clone() for one in offsets]
        torch._foreach_zero_([*thresholds, *offsets])  # Adam's moves do not depend on where it stands; exact from 0
        loss = super().step(closure)
        torch._foreach_exp_(thresholds)
        torch._foreach_mul_(thresholds, before)
        torch._foreach_mul_(offsets, torch._foreach_mul(before, [MOVED_ALIKE / sum(one.weights) for one in neurons]))
        torch._foreach_add_(offsets, offsets_before)
        keep_in_range(self.unet)
        return loss


@torch.no_grad()
def keep_in_range(unet: SpikingUNet2DModel) -> None:
    """Thresholds stay above 0, leaks in (0, 1]."""
    neurons = unet.neurons().values()
    torch._foreach_clamp_min_([neuron.threshold for neuron in neurons], SMALLEST_THRESHOLD)
    for neuron in neurons:
        if neuron.leak is not None:
            neuron.leak.clamp_(SMALLEST_THRESHOLD, 1)


@contextmanager
def averaged(unet: nn.Module, learner: Learner, use_ema: bool) -> Iterator[None]:
    """``unet`` as it would be handed out now, inside the ``with`` block."""
    learner.average.store(learner.parameters)
    if use_ema:
        learner.average.copy_to(learner.parameters)
    unet.eval()
    try:
        yield
    finally:
        learner.average.restore(learner.parameters)
        unet.train()
