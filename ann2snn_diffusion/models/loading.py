"""Where a pretrained ANN comes from: the bundled model, a pipeline folder, a U-Net folder, or a hub id."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import SchedulerMixin, UNet2DModel
from torch import Tensor, nn

from ann2snn_diffusion.common.atomic_output import REPORT_FILE
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.data.condition_file import read_conditions
from ann2snn_diffusion.diffusion.conditioning import require_condition
from ann2snn_diffusion.models.decoder import Decoder, load_decoder
from ann2snn_diffusion.models.folders import BUNDLED, find_folder, read_json
from ann2snn_diffusion.models.provenance import Provenance, provenance_in
from ann2snn_diffusion.models.schedulers import find_scheduler, load_scheduler
from ann2snn_diffusion.models.unet_config import refuse_wrong_types
from ann2snn_diffusion.models.weights import load_unet, refuse_not_finite, refuse_whole_numbers
from ann2snn_diffusion.spiking.folding import require_ann
from ann2snn_diffusion.spiking.unet import SourceError, SpikingUNet2DModel, architecture


@dataclass(frozen=True)
class Source:
    """A pretrained ANN with its scheduler.

    ``name`` is a hub id, ``fashion-mnist``, or a folder's bare name: never a path of this machine.
    """

    unet: UNet2DModel
    scheduler: SchedulerMixin
    name: str
    revision: str | None = None
    folder: Path | None = None
    """Where it was read from: never written to."""
    scheduler_of: str = ""
    """Whose the scheduler is, where it does not lie with the ANN: a bare name."""
    variant: str = ""
    """Of the weights; "": the usual ones."""
    pipeline: str = "DDPMPipeline"
    """Class of the pipeline that it came in."""
    decoder: Decoder | None = None
    """Of a latent model."""
    condition: Tensor | None = None
    """What lies beside noisy images, [M, C', H, W], used in turn; None: the network takes none."""


@dataclass(frozen=True)
class Converted(Source):
    """A converted model with its scheduler; ``name`` and ``revision`` are those of the ANN that it came from."""

    unet: SpikingUNet2DModel
    provenance: Provenance = ()
    """What was done to it, in order."""


AnySource = TypeVar("AnySource", bound=Source)


def load_source(
    source: str = BUNDLED, device: str = "cpu", scheduler: str | None = None, variant: str | None = None
) -> Source:
    """Load a DDPM in float32, ready to be evaluated.

    Args:
        scheduler: what the ANN was trained with, where that does not lie with it, or in a pipeline that it lies in: a
            folder or hub id that has a scheduler, or ``ddpm``.
        variant: of the weights, such as ``fp16``; None: the usual ones, or where none lie there, the variant that does.

    Raises:
        SourceError: not found, not a UNet2DModel, weights missing, corrupt or not finite; no scheduler.
    """
    folder, name, revision = find_folder(source)
    unet_folder = _unet_folder(folder)
    of_ann, whose, home = find_scheduler(folder, scheduler)
    unet, found = load_unet(unet_folder, variant)
    nn.Module.to(unet, torch.device(device))
    return Source(unet, of_ann, name, revision, folder, whose, found, _pipeline(home), load_decoder(home))


def load_ann(source: str) -> UNet2DModel:
    """Load an ANN alone, in float32 on the CPU, ready to be evaluated.

    Raises:
        SourceError: see `load_source`.
    """
    return load_unet(_unet_folder(find_folder(source)[0]))[0]


def with_conditions(source: AnySource, file: Path | None) -> AnySource:
    """``source`` with the conditions of a file, as it is drawn and measured with; None: with none.

    Raises:
        ConditionFileError: see `read_conditions`.
        ConditionError: they do not fit the network, or it lacks them.
    """
    condition = None if file is None else read_conditions(file)
    require_condition(source.unet, condition)
    return replace(source, condition=condition)


def with_random_weights(source: Source, seed: int) -> Source:
    """The same architecture, scheduler and device with fresh weights, to be trained from nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(stream("weights", seed).initial_seed())
        unet = UNet2DModel(**architecture(source.unet))
    nn.Module.to(unet.eval(), source.unet.device)
    return replace(source, unet=unet, name=f"{source.name} with random weights", revision=None, variant="")


def load_converted(folder: Path, device: str = "cpu") -> Converted:
    """Load a folder that a command wrote, or that a diffusers pipeline with a converted network saved.

    Raises:
        SourceError: not such a folder, or damaged.
    """
    if not (folder / "unet" / "config.json").exists():
        raise SourceError(f"{folder}: no unet/config.json; expected a folder that a2s convert wrote.")
    config = read_json(folder / "unet" / "config.json")
    kind = config.get("_class_name")
    if kind != "SpikingUNet2DModel":
        raise SourceError(f"{folder}: unet/config.json has _class_name = {kind!r}; convert it first with a2s convert.")
    refuse_wrong_types(folder / "unet" / "config.json", config)
    unet = SpikingUNet2DModel.from_pretrained(folder)
    refuse_whole_numbers(folder / "unet")
    refuse_not_finite(unet, folder / "unet")
    nn.Module.to(unet.eval(), torch.device(device))
    # A pipeline saves networks and scheduler, and nothing of what we tell beside them.
    file = folder / REPORT_FILE
    provenance = provenance_in(read_json(file)) if file.exists() else ()
    origin = unet.config["converted_from"] or (read_json(file) if file.exists() else {})
    name, revision = str(origin.get("source", "an unknown ANN")), origin.get("revision")
    return Converted(
        unet, load_scheduler(folder), name, revision, folder, pipeline=_pipeline(folder), decoder=load_decoder(folder),
        provenance=provenance,
    )  # fmt: skip


def load_with_ann(folder: Path, purpose: str, device: str = "cpu") -> Converted:
    """`load_converted`, for a ``purpose`` that needs the ANN inside.

    Raises:
        SourceError: see `load_converted`.
        FoldedError: the network is folded.
    """
    converted = load_converted(folder, device)
    require_ann(converted.unet, purpose)
    return converted


def _pipeline(folder: Path) -> str:
    file = folder / "model_index.json"
    return str(read_json(file).get("_class_name")) if file.exists() else "DDPMPipeline"


def _unet_folder(folder: Path) -> Path:
    """Where in a folder its UNet2DModel lies.

    Raises:
        SourceError: nowhere, or it is of another class.
    """
    unet_folder = folder / "unet" if (folder / "unet" / "config.json").exists() else folder
    if not (unet_folder / "config.json").exists():
        raise SourceError(
            f"{unet_folder}: no config.json and no unet/config.json; expected a pipeline or U-Net folder of diffusers."
        )
    config = read_json(unet_folder / "config.json")
    kind = config.get("_class_name")
    if kind == "SpikingUNet2DModel":
        raise SourceError(f"{unet_folder}: is spiking already; pass the ANN that it was converted from.")
    if kind != "UNet2DModel":
        raise SourceError(
            f"{unet_folder / 'config.json'}: _class_name = {kind!r}; only a UNet2DModel can be converted."
        )
    refuse_wrong_types(unet_folder / "config.json", config)
    return unet_folder
