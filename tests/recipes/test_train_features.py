import gzip
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, load_model

from ann2snn_diffusion.evaluation.features import FashionClassifier

SCRIPT = Path(__file__).parents[2] / "recipes" / "train_features.py"


@pytest.fixture
def recipe() -> ModuleType:
    found = importlib.util.spec_from_file_location("train_features", SCRIPT)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two kinds of images, black and white."""
    labels = np.arange(80, dtype=np.uint8) % 2
    images = np.broadcast_to(255 * labels[:, None, None], (80, 28, 28)).astype(np.uint8)
    for split in ("train", "t10k"):
        (tmp_path / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + images.tobytes()))
        (tmp_path / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + labels.tobytes()))
    return tmp_path


def test_a_trained_classifier_is_shipped_with_the_statistics_of_its_own_features(
    recipe: ModuleType, data: Path, tmp_path: Path
) -> None:
    recipe.main(tmp_path / "out", data=data, epochs=3, batch_size=16)
    assert "| accuracy on the 10,000 test images | 100.00% |" in (tmp_path / "out" / "README.md").read_text()
    classifier = FashionClassifier().eval()
    load_model(classifier, tmp_path / "out" / "model.safetensors")
    tensors = load_file(tmp_path / "out" / "references.safetensors")
    images, _ = recipe.read_split(data, "train")
    features, _ = recipe.apply(classifier, images)
    assert features.var(0).mean().item() == pytest.approx(1, rel=1e-4)
    torch.testing.assert_close(tensors["mean"], features.double().mean(0))
    torch.testing.assert_close(tensors["covariance"], features.double().T.cov())
    assert tensors["train"].shape == tensors["test"].shape == (80, 64)


@torch.no_grad()
def test_rescaled_features_leave_the_logits_as_they_are(recipe: ModuleType) -> None:
    classifier, images = FashionClassifier().eval(), torch.randn(30, 1, 32, 32)
    _, before = classifier(images)
    recipe.rescale(classifier, images)
    features, after = classifier(images)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    assert features.var(0).mean().item() == pytest.approx(1, rel=1e-4)


def test_images_are_flipped_and_shifted_but_keep_their_pixels(recipe: ModuleType, generator: torch.Generator) -> None:
    images = torch.rand(20, 1, 32, 32)
    changed = recipe.augment(images, generator)
    assert not torch.equal(changed, images)
    assert torch.equal(changed.flatten(1).sort().values, images.flatten(1).sort().values)
