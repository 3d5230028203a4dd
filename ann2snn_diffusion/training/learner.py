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
from ann2snn_diffusion.training.spec import TrainingSpec

SMALLEST_THRESHOLD = 1e-6


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

    def parts(self, accelerator: Accelerator) -> dict[str, Any]:
        """All that has a state of its own, by name."""
        parts = {"network": accelerator.unwrap_model(self.network), "optimizer": self.optimizer}
        scaler = {"scaler": accelerator.scaler} if accelerator.scaler is not None else {}
        return parts | {"schedule": self.schedule, "average": self.average} | scaler


def prepared(unet: SpikingUNet2DModel, spec: TrainingSpec, accelerator: Accelerator) -> Learner:
    """``unet``, with all that trains it, on the accelerator's device."""
    if spec.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    parameters = learnable(unet.train(), spec.learn)
    optimizer = torch.optim.AdamW(parameter_groups(unet, spec.learning_rate), betas=(0.9, 0.99), weight_decay=0)
    optimizer.register_step_post_hook(lambda *_: keep_in_range(unet))
    schedule = get_scheduler(
        spec.lr_scheduler, optimizer, num_warmup_steps=spec.lr_warmup_steps, num_training_steps=spec.steps
    )
    average = EMAModel(parameters, decay=spec.ema_max_decay, use_ema_warmup=True, inv_gamma=1, power=3 / 4)
    network, prepared = accelerator.prepare(unet, optimizer)
    average.to(accelerator.device)
    return Learner(network, parameters, prepared, schedule, average)


def learnable(unet: SpikingUNet2DModel, learn: str) -> list[nn.Parameter]:
    """Set which parameters learn, and return them: an ANN weight with a correction beside it never does."""
    own = unet.own_parameters()
    corrected = {f"{name}.{parameter}" for name in unet.synapses() for parameter in ("weight", "bias")}
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_(name in own or (learn == "all" and name not in corrected))
    return [parameter for parameter in unet.parameters() if parameter.requires_grad]


def parameter_groups(unet: SpikingUNet2DModel, learning_rate: float) -> list[dict[str, Any]]:
    """Thresholds and offsets, whose sizes differ between sites, move in proportion to their site's thresholds."""
    groups = [
        {"params": [neuron.threshold, neuron.offset], "lr": learning_rate * neuron.threshold.mean().item()}
        for neuron in unet.neurons().values()
    ]
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    rest = [part for part in unet.parameters() if part.requires_grad and id(part) not in grouped]
    return [*groups, {"params": rest, "lr": learning_rate}]


@torch.no_grad()
def keep_in_range(unet: SpikingUNet2DModel) -> None:
    """Thresholds stay above 0, leaks in (0, 1]."""
    for neuron in unet.neurons().values():
        neuron.threshold.clamp_(min=SMALLEST_THRESHOLD)
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
