"""Where a pretrained ANN comes from: the bundled model, a pipeline folder, a U-Net folder, or a hub id."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDPMScheduler, SchedulerMixin, UNet2DModel
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from torch import nn

from ann2snn_diffusion.common.atomic_output import REPORT_FILE
from ann2snn_diffusion.common.errors import first_line
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.models.provenance import Provenance, provenance_in
from ann2snn_diffusion.models.unet_config import refuse_wrong_types
from ann2snn_diffusion.spiking.unet import SourceError, SpikingUNet2DModel, architecture

BUNDLED = "fashion-mnist"
BUNDLED_FOLDER = Path(__file__).parent / "fashion-mnist-32"


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


@dataclass(frozen=True)
class Converted(Source):
    """A converted model with its scheduler; ``name`` and ``revision`` are those of the ANN that it came from."""

    unet: SpikingUNet2DModel
    provenance: Provenance = ()
    """What was done to it, in order."""


def load_source(source: str = BUNDLED, device: str = "cpu") -> Source:
    """Load a DDPM in float32, ready to be evaluated.

    Raises:
        SourceError: not found, not a UNet2DModel, weights missing, corrupt or not finite.
    """
    folder, name, revision = find_folder(source)
    unet_folder = folder / "unet" if (folder / "unet" / "config.json").exists() else folder
    _check_class(unet_folder)
    try:
        loaded: Any = UNet2DModel.from_pretrained(
            unet_folder, use_safetensors=_has_safetensors(unet_folder) or None, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, TypeError, KeyError) as error:
        raise SourceError(f"{unet_folder}: the weights could not be loaded: {first_line(error)}") from error
    unet, info = loaded
    for problem in ("missing_keys", "mismatched_keys"):
        if info[problem]:
            raise SourceError(f"{unet_folder}: {problem.replace('_', ' ')} in the weights: {info[problem][0]} …")
    _check_weights(unet, unet_folder)
    nn.Module.to(unet.float().eval(), torch.device(device))
    return Source(unet, load_scheduler(folder), name, revision, folder)


def with_random_weights(source: Source, seed: int) -> Source:
    """The same architecture, scheduler and device with fresh weights, to be trained from nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(stream("weights", seed).initial_seed())
        unet = UNet2DModel(**architecture(source.unet))
    nn.Module.to(unet.eval(), source.unet.device)
    return Source(unet, source.scheduler, f"{source.name} with random weights", folder=source.folder)


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
    _check_weights(unet, folder / "unet")
    nn.Module.to(unet.eval(), torch.device(device))
    # A pipeline saves networks and scheduler, and nothing of what we tell beside them.
    file = folder / REPORT_FILE
    provenance = provenance_in(read_json(file)) if file.exists() else ()
    origin = unet.config["converted_from"] or (read_json(file) if file.exists() else {})
    name, revision = str(origin.get("source", "an unknown ANN")), origin.get("revision")
    return Converted(unet, load_scheduler(folder), name, revision, folder, provenance)


def find_folder(source: str) -> tuple[Path, str, str | None]:
    """The folder that holds ``source``, its name, and its revision if it came from a hub.

    Raises:
        SourceError: neither bundled, nor a folder, nor to be had from the hub.
    """
    if source == BUNDLED:
        return BUNDLED_FOLDER, BUNDLED, None
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder, folder.resolve().name, None
    if folder.exists():
        raise SourceError(
            f"{source} is a file; expected a folder, a hub id such as google/ddpm-cifar10-32, or {BUNDLED}."
        )
    try:
        patterns = ["*.json", "*.safetensors", "unet/*.json", "unet/*.safetensors", "scheduler/*.json"]
        snapshot = Path(snapshot_download(source, allow_patterns=patterns))
        if not (_has_safetensors(snapshot) or _has_safetensors(snapshot / "unet")):
            snapshot = Path(snapshot_download(source, allow_patterns=[*patterns, "*.bin", "unet/*.bin"]))
    except HFValidationError as error:
        raise SourceError(f"{source}: no such folder, and not a hub id such as google/ddpm-cifar10-32.") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise SourceError(f"{source}: no such folder, and the hub could not give it: {first_line(error)}") from error
    return snapshot, source, snapshot.name


def load_scheduler(folder: Path) -> SchedulerMixin:
    """The scheduler saved beside a U-Net; DDPM's defaults where there is none.

    Raises:
        SourceError: an unreadable or unknown scheduler, or one without the ᾱ of a DDPM.
    """
    places = [folder / "scheduler", folder, folder.parent / "scheduler"]
    place = next((place for place in places if (place / "scheduler_config.json").exists()), None)
    if place is None:
        return DDPMScheduler()  # pyright: ignore[reportReturnType]
    config = read_json(place / "scheduler_config.json")
    kind: Any = getattr(diffusers, str(config.get("_class_name")), None)
    if not isinstance(kind, type) or not issubclass(kind, SchedulerMixin):
        raise SourceError(f"{place}: _class_name = {config.get('_class_name')!r} is no scheduler of diffusers.")
    scheduler: Any = kind.from_config(config)  # pyright: ignore[reportAttributeAccessIssue]
    if not hasattr(scheduler, "alphas_cumprod"):
        raise SourceError(
            f"{place}: {kind.__name__} is not a DDPM scheduler; expected one with a β schedule, such as DDPMScheduler."
        )
    return scheduler


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        SourceError: missing, or not a JSON object.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: not readable as JSON: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise SourceError(f"{path}: expected a JSON object, got {type(content).__name__}.")
    return content


def _has_safetensors(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


def _check_class(unet_folder: Path) -> None:
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


def _check_weights(unet: UNet2DModel, unet_folder: Path) -> None:
    for name, parameter in unet.named_parameters():
        if not torch.isfinite(parameter).all():
            raise SourceError(f"{unet_folder}: {name} holds values that are not finite.")
