"""What generated images are compared with: the features of real ones, computed once and kept by content."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics

from ann2snn_diffusion.common.atomic_output import new_file
from ann2snn_diffusion.common.digest import digest
from ann2snn_diffusion.common.progress import Advance, idle
from ann2snn_diffusion.data.datasets import RealImages
from ann2snn_diffusion.evaluation.features import FASHION_FOLDER, FeatureNetwork, FeaturesError


@dataclass(frozen=True)
class Reference:
    """Features of real images.

    Attributes:
        name: data set and split.
        preparation: what was done to the images, in words.
        count: real images behind ``mean`` and ``covariance``.
        mean, covariance: of their features, float64 [D] and [D, D].
        features: of all of them or of some, float32 [N, D]; for what needs more than mean and covariance.
    """

    name: str
    preparation: str
    count: int
    mean: Tensor
    covariance: Tensor
    features: Tensor


def pack_statistics(features: Tensor) -> dict[str, Tensor]:
    """``mean`` and ``covariance`` of features [N, D], as torch-fidelity computes them."""
    statistics = fid_features_to_statistics(features.double())
    return {"mean": torch.from_numpy(statistics["mu"]), "covariance": torch.from_numpy(statistics["sigma"])}


def bundled_reference() -> Reference:
    """Fashion-MNIST's training split under the features ``fashion-mnist``; needs no data."""
    tensors = load_file(FASHION_FOLDER / "references.safetensors")
    return Reference(
        "fashion-mnist train", "28 × 28 padded with black to 32 × 32", 60_000,
        tensors["mean"], tensors["covariance"], tensors["train"].float(),
    )  # fmt: skip


def bundled_test_features() -> Tensor:
    """Features of Fashion-MNIST's 10,000 test images, [N, 64]."""
    return load_file(FASHION_FOLDER / "references.safetensors")["test"].float()


def reference_of(images: RealImages, network: FeatureNetwork, advance: Advance = idle) -> Reference:
    """Features of real images, from the cache where the same images went through the same network before.

    Raises:
        FeaturesError: what the cache holds is damaged.
        OutputError: the cache cannot be written.
    """
    key = digest(network.network, images=images.digest)
    file = cache_folder() / f"{key}.safetensors"
    if file.exists():
        try:
            features = load_file(file)["features"]
        except (OSError, SafetensorError, KeyError) as error:
            raise FeaturesError(f"{file} is damaged; delete it and run the same command again.") from error
        advance(len(features))
    else:
        features = network(images, advance=advance).pooled
        file.parent.mkdir(parents=True, exist_ok=True)
        with new_file(file) as partial:
            save_file({"features": features}, partial)
    statistics = pack_statistics(features)
    return Reference(
        images.name, images.preparation, len(features), statistics["mean"], statistics["covariance"], features
    )


def cache_folder() -> Path:
    """Where features of real images are kept: ``$XDG_CACHE_HOME/ann2snn_diffusion``, by default below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ann2snn_diffusion" / "references"
