"""A tiny network to export, and an environment that has neither this package nor diffusers."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler

from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.spiking.programs import to_export
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from tests.conftest import build_unet

ABSENT = ("ann2snn_diffusion", "calibration", "diffusers")
ISOLATED = """
import sys

ABSENT = {absent!r}


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Finder())
{code}
assert not set(ABSENT) & set(sys.modules)
"""
GUIDANCE = {"segment.500": 0.9, "stage.up": 1.1}


def tiny_network(guidance: Any = GUIDANCE, unet: dict[str, Any] | None = None, **spec: Any) -> SpikingUNet2DModel:
    """The smallest network that spikes, with two unlike noise segments, at T = 2 unless ``spec`` says otherwise."""
    small = {
        "block_out_channels": (8,), "down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",),
        "mid_block_type": None,
    }  # fmt: skip
    spec = {"time_steps": 2, "segments": (0, 500), "guidance": guidance, **spec}
    snn = SpikingUNet2DModel.from_unet(build_unet(**small | (unet or {})), SpikeSpec(**spec))
    for name, parameter in snn.named_parameters():
        if name.endswith("threshold") or name.startswith("conv_out.weight_correction"):
            parameter.data += torch.linspace(0, 1, parameter.numel()).view_as(parameter)
    return snn.eval()


def as_converted(snn: SpikingUNet2DModel, **parts: Any) -> Converted:
    return Converted(snn, DDPMScheduler(), "tiny", **parts)  # pyright: ignore[reportArgumentType]


@torch.no_grad()
def write_reference(snn: SpikingUNet2DModel, folder: Path) -> None:
    """``reference.npz``: what the network gives for five states in both noise segments."""
    import numpy as np

    sample = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    timestep = torch.tensor([0, 300, 499, 500, 999])
    prediction = to_export(snn)(sample, timestep).sample
    np.savez(folder / "reference.npz", sample=sample, timestep=timestep, prediction=prediction)


def run_without_us(code: str, folder: Path, *also_absent: str) -> None:
    """Run Python in ``folder``, in a process that cannot import this package, diffusers, or ``also_absent``."""
    isolated = ISOLATED.format(absent=(*ABSENT, *also_absent), code=code)
    subprocess.run([sys.executable, "-I", "-c", isolated], cwd=folder, check=True)
