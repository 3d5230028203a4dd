"""What a result folder holds: a diffusers pipeline, its report with provenance, its model card, its pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.atomic_output import REPORT_FILE
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.diffusion.memory import fewer_if_large, images_at_once
from ann2snn_diffusion.diffusion.sampling import Drawing, SamplingError, choose_scheduler, sample
from ann2snn_diffusion.evaluation.fidelity_report import FidelityReport
from ann2snn_diffusion.models.loading import Converted, Source
from ann2snn_diffusion.models.pipeline import pipeline_of
from ann2snn_diffusion.reporting.image_grids import save_grids
from ann2snn_diffusion.reporting.model_card import model_card
from ann2snn_diffusion.reporting.picture import picture
from ann2snn_diffusion.spiking.layers import SpikingOutput
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

MOST_SHOWN = 8
DTYPES = ("float32", "float16", "bfloat16")
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Writing:
    """How a result folder is written."""

    samples: int | None = None
    """Images in each grid of samples.png; 0: no pictures of samples; None: 8, or fewer where they are large."""
    sample_steps: int = 25
    """DDIM steps behind each."""
    force: bool = False
    """Replace the folder, if this package wrote it and it is not what is read."""
    dtype: str = "float32"
    """Of the weights in the folder: float32, float16 or bfloat16."""
    folded: bool = False
    """The folder has one weight for each synapse, and no ANN; of a conversion alone."""

    def __post_init__(self) -> None:
        require(self.dtype in DTYPES, "dtype", self.dtype, f"one of {', '.join(DTYPES)}")

    def shown(self, unet: UNet2DModel) -> int:
        """Images in each grid of a network's samples."""
        return fewer_if_large(unet, MOST_SHOWN, 1) if self.samples is None else self.samples


def sample_grids(
    networks: Mapping[str, UNet2DModel], source: Source, writing: Writing, seed: int = 0, track: Track = silent
) -> dict[str, Tensor]:
    """Images of each network from equal noise, [N, C, H, W] in [0, 1], by title; none where none are wanted.

    Where they cannot be drawn, as of a network whose images are not finite, a warning takes their place.

    Args:
        source: whose scheduler they are drawn by, beside whose conditions, and whose decoder makes images of them.
    """
    count, steps = writing.shown(source.unet), writing.sample_steps
    if not count:
        return {}
    ddim = choose_scheduler(source.scheduler, "ddim")
    steps = min(steps, ddim.config.num_train_timesteps)
    at_once, decode, condition = min(count, images_at_once(source.unet)), source.decoder, source.condition
    drawing, grids = Drawing(count, steps, seed, at_once, decode=decode, condition=condition), {}
    for title, network in networks.items():
        advance = track(f"{count} images, {title}", steps * len(drawing.batches()))
        try:
            grids[title] = sample(network, ddim, drawing, advance)
        except SamplingError as error:
            LOG.warning("no images of %s: %s", title, error)
    return grids


@contextmanager
def stored_as(unet: SpikingUNet2DModel, dtype: str) -> Iterator[None]:
    """Parameters of ``unet`` as they are written, inside the block; in float32 again, with what was lost, after it.

    Weights have ``dtype``. Corrections of weights are written in the precision that they have been rounded to, and what
    neurons have of their own in float32; folded, the output in float32, and neurons in half where that can hold them.
    """
    kept: dict[int, torch.dtype] = {}
    for neuron in unet.neurons().values():
        half = unet.folded and _fits_half(neuron)
        kept |= {id(own): torch.float16 if half else torch.float32 for own in neuron.parameters()}
    for layer in unet.synapses().values():
        if not unet.folded:
            kept[id(layer.weight_correction)] = layer.stored_as
        elif isinstance(layer, SpikingOutput):
            kept[id(layer.weight)] = layer.stored_as
    for parameter in unet.parameters():
        parameter.data = parameter.data.to(kept.get(id(parameter), getattr(torch, dtype)))
    yield
    for parameter in unet.parameters():
        parameter.data = parameter.data.float()


def _fits_half(neuron: SpikingNeuron) -> bool:
    """Whether no value is too large for float16, and no threshold so small that it loses bits there."""
    limits = torch.finfo(torch.float16)
    largest = max(own.detach().abs().max().item() for own in neuron.parameters())
    return largest <= limits.max and neuron.threshold.min().item() >= limits.smallest_normal


def write_result(
    folder: Path,
    converted: Converted,
    report: FidelityReport,
    grids: Mapping[str, Tensor],
    dtype: str = "float32",
) -> None:
    """Fill ``folder``, which exists.

    Args:
        converted: the network, its scheduler, and how it came about.
        grids: images by title for samples.png; no picture if there are none.
        dtype: of the weights.
    """
    unet = converted.unet
    origin: dict[str, Any] = {"source": converted.name, "revision": converted.revision}
    if converted.condition is not None:
        origin["condition_channels"] = converted.condition.shape[1]
    unet.register_to_config(converted_from=origin)
    pipeline = pipeline_of(converted)
    with stored_as(unet, dtype):
        pipeline.save_pretrained(folder)
    content = {**origin, "spiking": unet.config["spiking"], "folded": unet.folded}
    content |= {"provenance": list(converted.provenance)}
    content |= report.to_dict()
    (folder / REPORT_FILE).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (folder / "README.md").write_text(model_card(converted, report, type(pipeline).__name__), "utf-8")
    if grids:
        with picture(folder / "samples.png") as file:
            save_grids(file, grids)
