import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.evaluation.fidelity import FidelitySpec, ImageDistance, measure_fidelity
from ann2snn_diffusion.evaluation.fidelity_report import FidelityReport
from ann2snn_diffusion.evaluation.figures import ANN, SNN, Distribution, Evaluation
from ann2snn_diffusion.evaluation.image_quality import Quality
from ann2snn_diffusion.evaluation.records import RecordError, read_evaluation, recorded_fidelity
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from tests.conftest import build_unet

QUALITY = Quality(5.0, (4.5, 5.5), 0.4, 0.05, 6.0, 0.2, 0.8, 0.7)
DISTRIBUTION = Distribution({ANN: QUALITY, SNN: QUALITY}, 0.5, (0.4, 0.6), 0.1, (0.0, 0.2))
SETTINGS: dict[str, Any] = {
    "count": 2000, "scheduler": "ddim", "steps": 25, "seed": 0,
    "real": {"features": "fashion-mnist", "reference": "fashion-mnist train", "reference_count": 60000},
}  # fmt: skip


@pytest.fixture(scope="module")
def fidelity() -> FidelityReport:
    unet: UNet2DModel = build_unet()
    return measure_fidelity(SpikingUNet2DModel.from_unet(unet, SpikeSpec()), DDPMScheduler(), spec=FidelitySpec(2, 3))


def evaluation_in(folder: Path, fidelity: FidelityReport, distribution: Distribution | None = DISTRIBUTION) -> Path:
    """The folder, with the evaluation.json of a made-up evaluation."""
    none = torch.zeros(0, 1, 8, 8)
    found = Evaluation(SETTINGS, fidelity, ImageDistance(36.0, 0.97), distribution, {ANN: none, SNN: none})
    (folder / "evaluation.json").write_text(json.dumps(found.to_dict()))
    return folder


def test_fidelity_is_read_as_it_was_written(fidelity: FidelityReport) -> None:
    found = recorded_fidelity(json.loads(json.dumps(fidelity.to_dict())))
    assert found is not None
    for name in ("epsilon_error", "epsilon_error_within", "epsilon_error_low_noise", "strata"):
        assert getattr(found, name) == getattr(fidelity, name)
    assert list(found.sites) == [site.name for site in fidelity.sites]
    assert found.sites[fidelity.sites[0].name]["error"] == fidelity.sites[0].error


def test_what_an_early_report_lacks_is_left_out(fidelity: FidelityReport) -> None:
    early = fidelity.to_dict()
    for name in ("strata", "epsilon_error_within"):
        del early[name]
    for site in early["sites"]:
        del site["saturation"]
    found = recorded_fidelity(early)
    assert found is not None
    assert (found.strata, found.epsilon_error_within) == ((), None)
    assert all(set(figures) == {"error", "correlation"} for figures in found.sites.values())
    assert recorded_fidelity({"source": "fashion-mnist"}) is None


@pytest.mark.parametrize(
    "damage",
    [{"epsilon_error": "small"}, {"sites": 3}, {"sites": [{"error": 1}]}, {"strata": [{"start": 0}]},
     {"epsilon_error_low_noise": None}],
)  # fmt: skip
def test_a_damaged_report_is_one_clear_line(fidelity: FidelityReport, damage: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match=r"^conversion_report.json holds no fidelity as it is written there: .*\.$"):
        recorded_fidelity(fidelity.to_dict() | damage)


@pytest.mark.parametrize("distribution", [DISTRIBUTION, None])
def test_an_evaluation_is_read_as_it_was_written(
    fidelity: FidelityReport, tmp_path: Path, distribution: Distribution | None
) -> None:
    found = read_evaluation(evaluation_in(tmp_path, fidelity, distribution))
    assert (found.distribution, found.images) == (distribution, ImageDistance(36.0, 0.97))
    assert found.settings == SETTINGS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "'settings' is missing; run a2s evaluate again"),
        ({"settings": SETTINGS, "images": {"psnr": 36}, "distribution": None}, "'ssim' is missing"),
        ({"settings": {**SETTINGS, "count": "many"}, "images": {}, "distribution": None}, "count = 'many'"),
        ({"settings": SETTINGS, "images": {"psnr": 36, "ssim": 1}, "distribution": {"quality": {}}}, "is missing"),
        ({"settings": None, "images": {}, "distribution": None}, "is not as a2s evaluate writes it"),
    ],
)
def test_a_damaged_evaluation_is_one_clear_line(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    with pytest.raises(RecordError, match=message):
        read_evaluation(tmp_path)


def test_a_folder_without_an_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no evaluation\.json; expected a folder that a2s evaluate wrote"):
        read_evaluation(tmp_path)
