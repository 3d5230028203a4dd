from pathlib import Path

import pytest
import torch

from ann2snn_diffusion.data.datasets import RealImages
from ann2snn_diffusion.evaluation.features import load_features
from ann2snn_diffusion.evaluation.image_quality import fid
from ann2snn_diffusion.evaluation.references import bundled_reference, bundled_test_features, reference_of


@pytest.fixture
def images() -> RealImages:
    pixels = torch.randint(0, 256, (70, 1, 32, 32), dtype=torch.uint8).expand(-1, 3, -1, -1)
    return RealImages("noise", "as they are", "digest of noise", len(pixels), lambda index: pixels[index])


def test_features_of_the_same_images_are_computed_once(
    images: RealImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network = load_features("fashion-mnist", 1, (32, 32))
    first = reference_of(images, network)

    def refuse(index: int) -> torch.Tensor:
        raise AssertionError(f"image {index} was read again")

    again = RealImages("noise", "as they are", "digest of noise", 70, refuse)
    assert torch.equal(reference_of(again, network).features, first.features)
    with pytest.raises(AssertionError, match="read again"):
        reference_of(RealImages("noise", "as they are", "another digest", 70, refuse), network)
    torch.nn.init.zeros_(network.network.classifier.head.weight)  # pyright: ignore
    with pytest.raises(AssertionError, match="read again"):
        reference_of(again, network)


def test_bundled_test_images_are_close_to_the_bundled_reference_but_not_in_it() -> None:
    reference, test = bundled_reference(), bundled_test_features()
    assert (reference.count, len(test)) == (60_000, 10_000)
    assert 0 < fid(test, reference) < 1
    assert fid(reference.features, reference) < 1
    assert fid(test + 1, reference) > 10
