"""Tiny real networks: stock UNet2DModels with random weights that have been given something to do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.spiking.fusing import problem_on

# Tests run side by side, a process for every core: more threads, also of programs that they start, would only wait.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

# The same examples everywhere and every time.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None, max_examples=40, database=None)
hypothesis.settings.load_profile("same")


def build_unet(**changes: Any) -> UNet2DModel:
    torch.manual_seed(0)
    config: dict[str, Any] = {
        "sample_size": 8,
        "in_channels": 1,
        "out_channels": 1,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 8,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }
    unet = UNet2DModel(**config | changes)
    # Fresh norms are all alike; real ones are not.
    for name, parameter in unet.named_parameters():
        if "norm" in name:
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    return unet.eval()


def forget_processes() -> None:
    """Let accelerate start anew, as in a new process."""
    for state in (AcceleratorState, PartialState, GradientState):
        state._reset_state()


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    yield
    forget_processes()


@pytest.fixture(scope="session")
def compiler() -> None:
    """Skips where torch.compile has none."""
    if (problem := problem_on(torch.device("cpu"))) is not None:
        pytest.skip(problem)


@pytest.fixture(scope="session")
def make_unet() -> Callable[..., UNet2DModel]:
    return build_unet


@pytest.fixture
def unet() -> UNet2DModel:
    return build_unet()


@pytest.fixture
def scheduler() -> DDPMScheduler:
    return DDPMScheduler()


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
