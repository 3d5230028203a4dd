"""Train the bundled Fashion-MNIST DDPM, or train it on.

accelerate launch recipes/train_fashion_mnist.py -o runs/fashion-mnist-32 --steps 3000
Data: Debian's package ``dataset-fashion-mnist`` (MIT licence), or any folder with the four idx files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from accelerate import Accelerator
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.data.datasets import read_idx
from ann2snn_diffusion.training.state_file import load_state, save_state

ARCHITECTURE = {
    "sample_size": 32,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": (32, 64, 64, 64),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 2,
    "norm_num_groups": 8,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
}


def read_images(folder: Path) -> torch.Tensor:
    """The 60,000 training images as uint8 [N, 32, 32], 28 × 28 padded with black."""
    return F.pad(read_idx(folder / "train-images-idx3-ubyte.gz"), (2, 2, 2, 2))


def training_batch(
    images: torch.Tensor, step: int, seed: int, process: int, batch_size: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images [B, 1, 32, 32] in [-1, 1], noise and diffusion timesteps of one step, a pure function of its arguments.

    Nothing but the step number has to be restored for an exact resume.
    """
    generator = stream("training images", seed, process, step)
    rows = torch.randint(len(images), (batch_size,), generator=generator)
    clean = images[rows].unsqueeze(1).float() / 127.5 - 1
    noise = torch.randn(clean.shape, generator=generator)
    diffusion_timesteps = torch.randint(1000, (batch_size,), generator=generator)
    return clean, noise, diffusion_timesteps


def main(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for checkpoints, log and the finished pipeline.")
    ],
    data: Annotated[Path, typer.Option(help="Folder with the idx files.")] = Path("/usr/share/datasets/fashion-mnist"),
    initial: Annotated[Path | None, typer.Option(help="UNet folder to start from instead of random weights.")] = None,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 3000,
    train_batch_size: Annotated[int, typer.Option(help="Images per process and step.")] = 64,
    learning_rate: float = 4e-4,
    lr_warmup_steps: int = 100,
    ema_decay: float = 0.999,
    checkpointing_steps: Annotated[
        int, typer.Option(help="Steps between checkpoints; a new run resumes the last.")
    ] = 100,
    mixed_precision: str = "no",
    seed: int = 0,
) -> None:
    """Train by the DDPM loss with EMA; the same command continues an interrupted run exactly."""
    accelerator = Accelerator(mixed_precision=mixed_precision)
    torch.manual_seed(seed)
    images = read_images(data)
    scheduler = DDPMScheduler()
    if initial is None:
        unet = UNet2DModel(**ARCHITECTURE)
    else:
        unet = UNet2DModel.from_pretrained(initial, torch_dtype=torch.float32)
    ema = EMAModel(unet.parameters(), decay=ema_decay, use_ema_warmup=initial is None)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=learning_rate)
    schedule = get_scheduler("cosine", optimizer, num_warmup_steps=lr_warmup_steps, num_training_steps=steps)
    unet, optimizer = accelerator.prepare(unet, optimizer)
    ema.to(accelerator.device)
    parts = {"unet": accelerator.unwrap_model(unet), "optimizer": optimizer, "schedule": schedule, "ema": ema}

    log = output / "loss.jsonl"
    step = 0
    checkpoints = sorted(output.glob("checkpoint-??????"))
    if checkpoints:
        state = load_state(checkpoints[-1] / "state.safetensors")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        ema.to(accelerator.device)
        step = int(checkpoints[-1].name.removeprefix("checkpoint-"))
    output.mkdir(parents=True, exist_ok=True)

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    hidden = not (sys.stderr.isatty() and accelerator.is_main_process)
    with Progress(*columns, disable=hidden) as progress:
        bar = progress.add_task("training", total=steps, completed=step)
        while step < steps:
            clean, noise, diffusion_timesteps = (
                tensor.to(accelerator.device)
                for tensor in training_batch(images, step, seed, accelerator.process_index, train_batch_size)
            )
            noisy = scheduler.add_noise(clean, noise, diffusion_timesteps)  # pyright: ignore[reportArgumentType]
            loss = F.mse_loss(unet(noisy, diffusion_timesteps).sample, noise)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(unet.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            ema.step(unet.parameters())
            step += 1
            progress.update(bar, completed=step, description=f"training, loss {loss.item():.4f}")
            if accelerator.is_main_process:
                with log.open("a") as lines:
                    lines.write(json.dumps({"step": step, "loss": round(loss.item(), 6)}) + "\n")
            if step % checkpointing_steps == 0 or step == steps:
                save_checkpoint(accelerator, output, step, parts)

    if accelerator.is_main_process:
        finished = accelerator.unwrap_model(unet)
        ema.copy_to(finished.parameters())
        finished.register_to_config(_name_or_path="fashion-mnist-32")  # never a path of this machine
        DDPMPipeline(finished.half(), scheduler).save_pretrained(str(output / "pipeline"))


def save_checkpoint(accelerator: Accelerator, output: Path, step: int, parts: dict[str, Any]) -> None:
    """Write beside, then rename: a checkpoint cut short never carries a checkpoint's name. The last one is kept."""
    earlier = sorted(output.glob("checkpoint-??????"))
    partial = output / "partial"
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        partial.mkdir(exist_ok=True)
        save_state(partial / "state.safetensors", {name: part.state_dict() for name, part in parts.items()})
        partial.rename(output / f"checkpoint-{step:06d}")
        for folder in earlier:
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()


if __name__ == "__main__":
    typer.run(main)
