"""Time and memory of converting a network of google/ddpm-cifar10-32's shape, with random weights.

python benchmarks/cifar_shape.py
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from rich.console import Console


def main() -> None:
    """Run ``a2s convert`` in a process of its own and print what it took."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=32,
        block_out_channels=(128, 256, 256, 256),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None,
        downsample_padding=0,
        norm_eps=1e-6,
    )
    parameters = sum(parameter.numel() for parameter in unet.parameters())
    with tempfile.TemporaryDirectory() as folder:
        DDPMPipeline(unet, DDPMScheduler()).save_pretrained(folder)
        command = [sys.executable, "-m", "ann2snn_diffusion.cli", "convert", folder, "--recipe", "cifar10"]
        start = time.perf_counter()
        subprocess.run([*command, "-o", str(Path(folder) / "snn")], check=True)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    Console().print(f"{parameters / 1e6:.1f} M parameters: {seconds:.0f} s, peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
