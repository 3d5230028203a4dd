"""TrainingSpec: one frozen, validated description of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ann2snn_diffusion.common.specs import is_number, require, require_flags, require_whole

Precision = Literal["no", "fp16", "bf16"]
Learn = Literal["spiking", "all"]
Schedule = Literal["linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"]


@dataclass(frozen=True)
class TrainingSpec:
    """How a spiking network is trained; named as in diffusers' train_unconditional.py where that has the same.

    Raises:
        SpecError: a field out of range.
    """

    steps: int = 800
    """Optimiser steps."""
    train_batch_size: int = 64
    """States per process and forward pass."""
    gradient_accumulation_steps: int = 1
    """Forward passes per optimiser step."""
    learning_rate: float = 1.5e-4
    """Of Adam; thresholds and offsets move in proportion to their site's thresholds."""
    lr_scheduler: Schedule = "cosine"
    lr_warmup_steps: int = 100
    max_grad_norm: float = 1.0
    use_ema: bool = True
    ema_max_decay: float = 0.99
    """Largest decay of the exponential moving average that becomes the result."""
    mixed_precision: Precision = "no"
    gradient_checkpointing: bool = False
    """Forward again in backward instead of keeping activations."""
    distill: float = 1.0
    """Weight of the error to the ANN's prediction."""
    blockwise: float = 0.0
    """Weight of the error to what each block of the ANN hands on."""
    denoise: float = 0.0
    """Weight of the DDPM loss on images."""
    firing_rate: float = 0.0
    """Weight of the mean firing rate: fewer spikes for less fidelity."""
    learned_step_weights: bool = False
    """The amplitude of each time step's spikes learns too, see `SpikeSpec`."""
    learn: Learn = "spiking"
    """spiking: what stands beside the ANN's parameters, which stay; all: those too, as from random weights."""
    synchronous: bool = False
    """Hand the result out in the synchronous schedule: a rate-coded network is trained layerwise at a fraction of the
    cost, and its weights carry over."""
    own_share: float = 0.25
    """Share of the states that lie on the spiking network's own trajectories, not the ANN's."""
    sampler_steps: int = 25
    """DDIM steps of the trajectories, on average."""
    seed: int = 0
    checkpointing_steps: int = 250
    checkpoints_total_limit: int = 2
    save_images_steps: int = 250
    """Steps between grids of samples; 0: none."""
    dataloader_num_workers: int = 0

    def __post_init__(self) -> None:
        lowest = {
            "steps": 1, "train_batch_size": 1, "gradient_accumulation_steps": 1, "lr_warmup_steps": 0, "seed": 0,
            "sampler_steps": 1, "checkpointing_steps": 1, "checkpoints_total_limit": 1, "save_images_steps": 0,
            "dataloader_num_workers": 0,
        }  # fmt: skip
        require_whole(self, lowest)
        for field in ("learning_rate", "max_grad_norm"):
            value = getattr(self, field)
            require(is_number(value, 0) and value > 0, field, value, "a number above 0")
        for field in ("distill", "blockwise", "denoise", "firing_rate"):
            require(is_number(getattr(self, field), 0), field, getattr(self, field), "a number from 0")
        weights = self.distill + self.blockwise + self.denoise
        require(weights > 0, "distill", self.distill, "a weight above 0, unless blockwise or denoise has one")
        for field in ("own_share", "ema_max_decay"):
            require(is_number(getattr(self, field), 0, 1), field, getattr(self, field), "a number from 0 to 1")
        require_flags(self, ("use_ema", "gradient_checkpointing", "learned_step_weights", "synchronous"))
        for field, choices in {
            "mixed_precision": get_args(Precision),
            "learn": get_args(Learn),
            "lr_scheduler": get_args(Schedule),
        }.items():
            require(getattr(self, field) in choices, field, getattr(self, field), "one of " + ", ".join(choices))
