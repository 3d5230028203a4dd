"""Where a model's folder lies: bundled, on this machine, or on a hub; and the JSON files in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from ann2snn_diffusion.common.errors import first_line
from ann2snn_diffusion.spiking.unet import SourceError

BUNDLED = "fashion-mnist"
BUNDLED_FOLDER = Path(__file__).parent / "fashion-mnist-32"


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
        parts = [f"{part}/*.{kind}" for part in ("unet", "vqvae", "vae") for kind in ("json", "safetensors")]
        patterns = ["*.json", "*.safetensors", *parts, "scheduler/*.json"]
        snapshot = Path(snapshot_download(source, allow_patterns=patterns))
        if not (has_safetensors(snapshot) or has_safetensors(snapshot / "unet")):
            snapshot = Path(snapshot_download(source, allow_patterns=[*patterns, "*.bin", "unet/*.bin", "v*/*.bin"]))
    except HFValidationError as error:
        raise SourceError(f"{source}: no such folder, and not a hub id such as google/ddpm-cifar10-32.") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise SourceError(f"{source}: no such folder, and the hub could not give it: {first_line(error)}") from error
    return snapshot, source, snapshot.name


def has_safetensors(folder: Path) -> bool:
    """Whether weights lie in a folder as safetensors."""
    return any(folder.glob("*.safetensors"))


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
