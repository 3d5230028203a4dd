import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from diffusers import DDPMScheduler, UNet2DModel
from rich.console import Console

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.evaluation import fidelity
from ann2snn_diffusion.evaluation.image_quality import QualityError
from ann2snn_diffusion.evaluation.real_data import RealData, bundled_data
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.reporting.evaluation_table import print_evaluation
from ann2snn_diffusion.spiking.calibrate import CalibrationSpec
from ann2snn_diffusion.workflows.convert import convert
from ann2snn_diffusion.workflows.evaluate import Evaluation, EvaluationSpec, evaluate, save_plots

QUICK = CalibrationSpec(states=28, positions=64, sampler_steps=3)
SPEC = EvaluationSpec(count=70, steps=2, bootstrap=4)


@pytest.fixture(scope="module")
def converted(make_unet: Callable[..., UNet2DModel]) -> Converted:
    unet = make_unet(sample_size=32, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2)
    scheduler = DDPMScheduler()
    return Converted(convert(unet, scheduler, calibration=QUICK).unet, scheduler, "tiny")  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def real() -> RealData:
    return bundled_data(1, (32, 32))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "SAMPLER_STEPS", 2)
    monkeypatch.setattr(fidelity, "STATES_PER_LEVEL", 2)


def measured(
    converted: Converted, folder: Path, real: RealData | None, spec: EvaluationSpec = SPEC
) -> tuple[Evaluation, dict[str, torch.Tensor]]:
    found = evaluate(converted, folder, real, spec, PartialState(cpu=True))
    assert found is not None
    return found


def test_the_same_call_twice_gives_the_same_figures(converted: Converted, real: RealData, tmp_path: Path) -> None:
    one, _ = measured(converted, tmp_path / "one", real)
    two, _ = measured(converted, tmp_path / "two", real)
    resumed, _ = measured(converted, tmp_path / "one", real)
    assert one == two == resumed
    assert json.loads(json.dumps(one.to_dict())) == json.loads(json.dumps(two.to_dict()))


def test_an_ann_against_itself_differs_by_nothing(converted: Converted, real: RealData, tmp_path: Path) -> None:
    twin = copy.deepcopy(converted)
    twin.unet.forward_pass.analog = True
    found, images = measured(twin, tmp_path, real)
    assert torch.equal(images["ANN"], images["SNN"])
    assert found.images.psnr == 100
    assert found.distribution is not None
    assert found.distribution.fid_difference == 0
    assert found.distribution.fid_difference_interval == (0, 0)
    assert found.distribution.quality["ANN"] == found.distribution.quality["SNN"]


def test_settings_tell_what_a_reproduction_needs(converted: Converted, real: RealData, tmp_path: Path) -> None:
    settings = measured(converted, tmp_path, real)[0].settings
    assert (settings["seed"], settings["count"], settings["scheduler"], settings["steps"]) == (0, 70, "ddim", 2)
    assert settings["real"]["features"] == "fashion-mnist"
    assert settings["real"]["reference"] == "fashion-mnist train"
    assert "EMA" in settings["ann_weights"]
    assert set(settings["versions"]) >= {"torch", "diffusers", "torch-fidelity"}
    assert str(tmp_path) not in json.dumps(settings)


def test_tables_name_features_counts_and_what_they_do_not_compare_with(
    converted: Converted, real: RealData, tmp_path: Path
) -> None:
    console = Console(record=True, width=120, file=(tmp_path / "printed").open("w"))
    print_evaluation(console, measured(converted, tmp_path, real)[0])
    printed = console.export_text()
    for words in ("FID (fashion-mnist)", "real, held out", "70 images, ddim, 2 steps, seed 0", "not with papers"):
        assert words in printed
    console.file.close()


def test_without_real_images_fidelity_is_measured_all_the_same(converted: Converted, tmp_path: Path) -> None:
    found, images = measured(converted, tmp_path, None, EvaluationSpec(count=2, steps=2))
    assert found.distribution is None
    assert 0 < found.fidelity.epsilon_error < 1
    save_plots(tmp_path / "plots", found, images)
    assert {file.name for file in (tmp_path / "plots").iterdir()} == {"samples.png", "error.png", "sites.png"}


def test_too_few_images_are_refused_before_any_is_drawn(converted: Converted, real: RealData, tmp_path: Path) -> None:
    with pytest.raises(QualityError, match="needs more than 64 images"):
        evaluate(converted, tmp_path / "out", real, EvaluationSpec(count=64), PartialState(cpu=True))
    assert not (tmp_path / "out").exists()


def test_the_floor_is_the_distance_of_as_many_real_images(converted: Converted, real: RealData, tmp_path: Path) -> None:
    distribution = measured(converted, tmp_path, real)[0].distribution
    assert distribution is not None
    assert distribution.floor is not None
    assert distribution.floor_interval is not None
    assert distribution.floor_interval[0] < distribution.floor < distribution.floor_interval[1]
    assert distribution.floor < distribution.quality["ANN"].fid


@pytest.mark.parametrize("field", ["count", "steps", "batch_size", "bootstrap"])
def test_settings_out_of_range_are_refused(field: str) -> None:
    with pytest.raises(SpecError, match=f"{field} = 0"):
        EvaluationSpec(**{field: 0})  # pyright: ignore[reportArgumentType]
