"""TrainingSpec: one frozen, validated description of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ann2snn_diffusion.common.specs import check, require, setting

Precision = Literal["no", "fp16", "bf16"]
Learn = Literal["spiking", "all"]
LearningRateSchedule = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"
]


@dataclass(frozen=True)
class TrainingSpec:
    """How a spiking network is trained; named as in diffusers' train_unconditional.py where that has the same.

    Raises:
        SpecError: a field out of range.
    """

    steps: int = setting(800, "Optimiser steps.", at_least=1)
    train_batch_size: int = setting(64, "States per process and forward pass.", at_least=1)
    gradient_accumulation_steps: int = setting(1, "Forward passes per optimiser step.", at_least=1)
    learning_rate: float = setting(1.5e-4, "Learning rate of Adam.", above=0)
    threshold_learning_rate: float | None = setting(
        None,
        "Of thresholds, which move by such a share of themselves, and of offsets, which move a charge as far. Default: "
        "`learning_rate`.",
        above=0,
    )
    lr_scheduler: LearningRateSchedule = setting("cosine", "How the learning rate falls.")
    lr_warmup_steps: int = setting(100, "Optimiser steps in which the learning rate rises from 0.", at_least=0)
    max_grad_norm: float = setting(1.0, "Norm that the gradients are clipped to.", above=0)
    use_ema: bool = setting(True, "Hand out the exponential moving average of the weights, not the last ones.")
    ema_max_decay: float = setting(0.99, "Largest decay of that average.", at_least=0, at_most=1)
    mixed_precision: Precision = setting("no", "Precision of the forward pass; no: float32.")
    gradient_checkpointing: bool = setting(
        False, "Less memory for one more forward pass: activations are computed again in backward, not kept."
    )
    fused: bool | None = setting(
        None,
        "Compile what a neuron does to one kernel (torch.compile): less time and memory, after a minute of compiling. "
        "Default: from 200 steps on, where there is a compiler.",
    )
    cuda_graph: bool = setting(
        True, "On a GPU a step is recorded once and replayed, which takes a fraction of the time; no effect elsewhere."
    )
    distill: float = setting(1.0, "Weight of the error to the ANN's ε.", at_least=0)
    blockwise: float = setting(0.0, "Weight of the error to what each block of the ANN hands on.", at_least=0)
    denoise: float = setting(0.0, "Weight of the DDPM loss on images; needs `data`.", at_least=0)
    firing_rate: float = setting(0.0, "Weight of the mean firing rate: fewer spikes for less fidelity.", at_least=0)
    energy: float | None = setting(
        None,
        "Share of the ANN's energy that the network's synapses may spend: spikes weigh in the loss what it takes to "
        "end there. Default: no budget.",
        above=0,
        at_most=1,
    )
    costs: str = setting("horowitz-45nm", "What an operation costs: horowitz-45nm, int8, int8-int32, or a TOML file.")
    learned_step_weights: bool = setting(
        False, "The amplitude of each time step's spikes learns too (SDM, arXiv 2408.16467)."
    )
    learn: Learn = setting(
        "spiking",
        "spiking: what stands beside the ANN's parameters, which stay. all: those too, as from random weights.",
    )
    even_if_worse: bool = setting(
        False, "Hand out what was trained, even where the network from before is nearer to its ANN."
    )
    synchronous: bool = setting(
        False,
        "Hand the result out in the synchronous schedule: a rate-coded network is trained layerwise at a fraction of "
        "the cost, and its weights carry over.",
    )
    own_share: float = setting(
        0.25,
        "Share of the states that lie on the spiking network's own trajectories, not the ANN's.",
        at_least=0,
        at_most=1,
    )
    sampler_steps: int = setting(25, "DDIM steps of the trajectories, on average.", at_least=1, at_most=1000)
    seed: int = setting(0, "Seed of everything random.", at_least=0, at_most=2**63 - 1)
    checkpointing_steps: int = setting(250, "Steps between checkpoints.", at_least=1)
    checkpoints_total_limit: int = setting(2, "Newest checkpoints that are kept.", at_least=1)
    save_images_steps: int = setting(250, "Steps between grids of samples; 0: none.", at_least=0)
    dataloader_num_workers: int = setting(0, "Processes that read images of `data`; 0: this one.", at_least=0)

    def __post_init__(self) -> None:
        check(self)
        weights = self.distill + self.blockwise + self.denoise
        if self.energy is not None:
            require(not self.firing_rate, "energy", self.energy, "none beside a weight of `firing_rate`")
            require(not self.synchronous, "energy", self.energy, "none beside `synchronous`")
        require(weights > 0, "distill", self.distill, "a weight above 0, unless `blockwise` or `denoise` has one")
