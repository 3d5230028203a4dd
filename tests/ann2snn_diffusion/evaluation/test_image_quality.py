import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ann2snn_diffusion.data.datasets import folder_images
from ann2snn_diffusion.evaluation.features import Features, load_features
from ann2snn_diffusion.evaluation.image_quality import (
    QualityError,
    bootstrap_fids,
    fid,
    interval,
    quality,
    require_enough,
)
from ann2snn_diffusion.evaluation.references import Reference, pack_statistics, reference_of


def features(count: int, shift: float = 0.0, seed: int = 0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    pooled = torch.randn(count, 4, generator=generator) + shift
    return Features(pooled, 3 * torch.randn(count, 3, generator=generator))


def reference(pooled: torch.Tensor) -> Reference:
    statistics = pack_statistics(pooled)
    return Reference("test", "as they are", len(pooled), statistics["mean"], statistics["covariance"], pooled)


def test_identical_sets_have_no_distance() -> None:
    same = features(500)
    found = quality(same, reference(same.pooled), torch.zeros(3))
    assert found.fid == pytest.approx(0, abs=1e-6)
    assert -0.1 < found.kid < 0  # unbiased: below 0 where both sets are the same images
    assert found.precision == found.recall == 1


def test_a_shift_of_the_mean_is_its_squared_length() -> None:
    same = features(500).pooled
    assert fid(same + 0.5, reference(same)) == pytest.approx(4 * 0.25, rel=1e-5)


def test_sets_far_apart_share_no_manifold() -> None:
    found = quality(features(300, shift=50), reference(features(300, seed=1).pooled), torch.zeros(3))
    assert found.precision == found.recall == 0
    assert found.kid > 1


def test_the_interval_is_about_as_wide_as_the_spread_of_fresh_draws(generator: torch.Generator) -> None:
    real = reference(features(5000, seed=99).pooled)
    fresh = torch.tensor([fid(features(200, shift=0.3, seed=seed).pooled, real) for seed in range(60)])
    drawn = bootstrap_fids([features(200, shift=0.3, seed=100).pooled], real, 60, generator)
    low, high = interval(fresh.mean().item(), drawn[:, 0])
    assert (high - low) / (2 * 1.96) == pytest.approx(fresh.std().item(), rel=0.4)
    assert low < fresh.mean() < high


def test_resampling_in_pairs_makes_equal_sets_differ_by_nothing(generator: torch.Generator) -> None:
    one = features(100).pooled
    drawn = bootstrap_fids([one, one], reference(features(300, seed=1).pooled), 5, generator)
    assert torch.equal(drawn[:, 0], drawn[:, 1])
    assert drawn[:, 0].std() > 0


def test_too_few_images_for_the_features_are_refused() -> None:
    require_enough(65, 64)
    with pytest.raises(QualityError, match="FID on 64 features needs more than 64 images"):
        require_enough(64, 64)


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """InceptionV3 with random weights, in the file format that torch-fidelity loads."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("inception") / "weights.pth"
    original = FeatureExtractorInceptionV3.load_state_dict
    FeatureExtractorInceptionV3.load_state_dict = lambda self, _: None  # pyright: ignore
    try:
        torch.save({}, file)
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(file))
    finally:
        FeatureExtractorInceptionV3.load_state_dict = original
    torch.save(network.state_dict(), file)
    return file


def folder_of_images(folder: Path, seed: int) -> Path:
    folder.mkdir()
    noise = np.random.default_rng(seed)
    for index in range(12):
        pixels = noise.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((32, 32)).save(folder / f"{index}.png")
    return folder


@pytest.mark.slow
def test_figures_are_those_of_torch_fidelity_s_own_command_line(
    tmp_path: Path, inception_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one, two = folder_of_images(tmp_path / "one", 0), folder_of_images(tmp_path / "two", 1)
    options = ["--fid", "--kid", "--isc", "--prc", "--json", "--cpu", "--silent", "--no-cache", "--rng-seed", "7"]
    weights = ["--feature-extractor", "inception-v3-compat", "--feature-extractor-weights-path", str(inception_weights)]
    command = [sys.executable, "-m", "torch_fidelity.fidelity", "--input1", str(one), "--input2", str(two)]
    printed = subprocess.run(
        [*command, *options, *weights, "--kid-subset-size", "12"], capture_output=True, text=True, check=True
    ).stdout
    expected: dict[str, Any] = json.loads(printed)

    network = load_features("inception", 3, (32, 32), inception_weights)
    generated = network(folder_images(one, 3, (32, 32)))
    found = quality(generated, reference_of(folder_images(two, 3, (32, 32)), network), torch.zeros(2), seed=7)
    assert found.fid == pytest.approx(expected["frechet_inception_distance"], rel=1e-3)
    assert found.kid == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-3)
    assert found.inception_score == pytest.approx(expected["inception_score_mean"], rel=1e-4)
    assert (found.precision, found.recall) == (expected["precision"], expected["recall"])
