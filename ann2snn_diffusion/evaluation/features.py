"""Feature networks behind FID, KID and the like, all of them torch-fidelity's or registered with it.

- ``inception``:     InceptionV3 with the weights of the original FID (arXiv 1706.08500), 2048 features
- ``fashion-mnist``: a small classifier of Fashion-MNIST that ships with this package, 64 features; its figures compare
  with nothing but each other
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import torch
from safetensors.torch import load_model
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch_fidelity import FeatureExtractorBase, register_feature_extractor
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torch_fidelity.utils import create_feature_extractor

from ann2snn_diffusion.common.errors import A2SError, first_line
from ann2snn_diffusion.common.progress import Advance, idle

FeatureName = Literal["inception", "fashion-mnist"]
FEATURES: tuple[FeatureName, ...] = get_args(FeatureName)
FASHION_FOLDER = Path(__file__).parents[1] / "models" / "fashion-mnist-features"


class FeaturesError(A2SError):
    """A feature network that cannot be had, or does not fit the images."""


class FeatureImages(Dataset[Tensor]):
    """Drawn images, uint8 [N, C, H, W], as feature networks take them: three channels."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index].expand(3, -1, -1)


class FashionClassifier(nn.Module):
    """A small convolutional classifier of the ten kinds of clothing."""

    def __init__(self) -> None:
        def block(inside: int, outside: int) -> list[nn.Module]:
            return [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]

        super().__init__()
        self.features = nn.Sequential(
            *block(1, 32), nn.MaxPool2d(2),
            *block(32, 64), *block(64, 64), nn.MaxPool2d(2),
            *block(64, 128), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(128 * 16, 64), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Grey images [B, 1, 32, 32] in [−1, 1] → features [B, 64] and logits [B, 10]."""
        features = self.features(images)
        return features, self.head(features)


class FashionFeatures(FeatureExtractorBase):
    """`FashionClassifier` as torch-fidelity wants it: uint8 [B, 3, 32, 32] in, ``64`` and ``logits`` out."""

    def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
        super().__init__(name, features_list)
        self.classifier = FashionClassifier()
        load_model(self.classifier, FASHION_FOLDER / "model.safetensors")

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """The names of the features."""
        return "64", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """Logits for the Inception Score, features for the rest."""
        return "logits" if metric == "isc" else "64"

    @staticmethod
    def can_be_compiled() -> bool:
        """Whether torch.compile takes it."""
        return True

    @staticmethod
    def get_dummy_input_for_compile() -> Tensor:
        """Images such as it takes."""
        return torch.zeros(1, 3, 32, 32, dtype=torch.uint8)

    def forward(self, input: Tensor) -> tuple[Tensor, ...]:
        """The requested features, in the order of their request."""
        features, logits = self.classifier(input.float().mean(1, keepdim=True) / 127.5 - 1)
        found = {"64": features, "logits": logits}
        return tuple(found[name] for name in self.features_list)


FASHION_NAME = "a2s-fashion-mnist"
register_feature_extractor(FASHION_NAME, FashionFeatures)


@dataclass(frozen=True)
class Features:
    """What a feature network makes of N images: features [N, D] and logits [N, K], float32, on the CPU."""

    pooled: Tensor
    logits: Tensor

    def __len__(self) -> int:
        return len(self.pooled)

    def __getitem__(self, rows: Tensor | slice) -> Features:
        return Features(self.pooled[rows], self.logits[rows])


@dataclass(frozen=True)
class FeatureNetwork:
    """A feature network with its name and its number of features D."""

    name: FeatureName
    network: FeatureExtractorBase
    width: int

    @torch.no_grad()
    def __call__(self, images: Dataset[Tensor], batch_size: int = 64, advance: Advance = idle) -> Features:
        """Features of uint8 images [3, H, W]; ``advance`` is told how many are done."""
        device = next(self.network.parameters()).device
        pooled, logits = [], []
        for batch in DataLoader(images, batch_size):
            for kept, found in zip((pooled, logits), self.network(batch.to(device)), strict=True):
                kept.append(found.float().cpu())
            advance(sum(map(len, pooled)))
        return Features(torch.cat(pooled), torch.cat(logits))


def load_features(
    name: str, channels: int, size: tuple[int, int], weights: Path | None = None, device: str = "cpu"
) -> FeatureNetwork:
    """A feature network for images of ``channels`` channels and ``size``.

    Args:
        weights: file of Inception's weights; by default torch.hub's cache, filled from the network if need be.

    Raises:
        FeaturesError: unknown name, not made for such images, or weights that are not to be had.
    """
    if name == "fashion-mnist":
        if (channels, size) != (1, (32, 32)):
            raise FeaturesError(
                f"features = 'fashion-mnist': made for 1 × 32 × 32, the model draws {channels} × {size[0]} × {size[1]}."
            )
        network = create_feature_extractor(FASHION_NAME, ["64", "logits"], cuda=False, verbose=False)
        return FeatureNetwork("fashion-mnist", network.to(device), 64)
    if name != "inception":
        raise FeaturesError(f"features = {name!r}: expected one of {', '.join(FEATURES)}.")
    try:
        network = _inception(weights)
    except Exception as error:  # torch.load raises whatever a damaged file makes it raise
        where = f"{weights}: not readable" if weights else f"neither in {torch.hub.get_dir()}/checkpoints nor to be had"
        raise FeaturesError(
            f"Inception weights: {where} ({first_line(error)}). "
            f"Download {URL_INCEPTION_V3} and pass the file as `inception_weights`."
        ) from error
    return FeatureNetwork("inception", network.to(device), 2048)


def _inception(weights: Path | None) -> FeatureExtractorBase:
    """InceptionV3; torch-fidelity runs any code in a file of weights, so it gets one that holds tensors alone."""
    if weights is None:
        state = torch.hub.load_state_dict_from_url(URL_INCEPTION_V3, progress=False, check_hash=True, weights_only=True)
    else:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    with TemporaryDirectory() as folder:
        torch.save(state, Path(folder) / "weights.pth")
        return create_feature_extractor(
            "inception-v3-compat", ["2048", "logits_unbiased"], cuda=False, verbose=False,
            feature_extractor_weights_path=str(Path(folder) / "weights.pth"),
        )  # fmt: skip
