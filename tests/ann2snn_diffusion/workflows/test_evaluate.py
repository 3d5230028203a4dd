import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.models.unets.unet_2d import UNet2DOutput
from rich.console import Console

from ann2snn_diffusion.common.atomic_output import OutputError
from ann2snn_diffusion.diffusion.sampling import Drawing, choose_scheduler, sample, to_pixels
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec
from ann2snn_diffusion.evaluation.figures import Evaluation
from ann2snn_diffusion.evaluation.image_quality import QualityError
from ann2snn_diffusion.evaluation.real_data import RealData, bundled_data
from ann2snn_diffusion.evaluation.spec import EvaluationSpec
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.reporting.evaluation_table import print_evaluation
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.workflows.convert import convert
from ann2snn_diffusion.workflows.evaluate import evaluate, evaluate_to_folder

QUICK = CalibrationSpec(energy=0, states=28, positions=64, sampler_steps=3)
SPEC = EvaluationSpec(count=70, steps=2, bootstrap=4, states_per_stratum=2)


@pytest.fixture(scope="module")
def converted(make_unet: Callable[..., UNet2DModel]) -> Converted:
    unet = make_unet(sample_size=32, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2)
    scheduler = DDPMScheduler()
    return Converted(convert(unet, scheduler, calibration=QUICK).unet, scheduler, "tiny")  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def real() -> RealData:
    return bundled_data(1, (32, 32))


def measured(converted: Converted, folder: Path, real: RealData | None, spec: EvaluationSpec = SPEC) -> Evaluation:
    process = PartialState(cpu=True)
    found = evaluate(converted.unet, converted.scheduler, spec=spec, real=real, shards=folder, process=process)
    assert found is not None
    return found


def test_the_same_call_twice_gives_the_same_figures(converted: Converted, real: RealData, tmp_path: Path) -> None:
    one = measured(converted, tmp_path / "one", real)
    two = measured(converted, tmp_path / "two", real)
    resumed = measured(converted, tmp_path / "one", real)
    assert one == two == resumed
    assert json.loads(json.dumps(one.to_dict())) == json.loads(json.dumps(two.to_dict()))


class ItsANN(SpikingUNet2DModel):
    """A spiking network that runs as its ANN."""

    def forward(self, *arguments: Any, **named: Any) -> UNet2DOutput | tuple[torch.Tensor, ...]:
        with analog(self):
            return super().forward(*arguments, **named)


def test_an_ann_against_itself_differs_by_nothing(converted: Converted, real: RealData, tmp_path: Path) -> None:
    twin = copy.deepcopy(converted)
    twin.unet.__class__ = ItsANN
    found = measured(twin, tmp_path, real)
    assert torch.equal(found.drawn["ANN"], found.drawn["SNN"])
    assert found.images.psnr == 100
    assert found.distribution is not None
    assert found.distribution.fid_difference == 0
    assert found.distribution.fid_difference_interval == (0, 0)
    assert found.distribution.quality["ANN"] == found.distribution.quality["SNN"]


def test_settings_tell_what_a_reproduction_needs(converted: Converted, real: RealData, tmp_path: Path) -> None:
    found = evaluate_to_folder(converted, tmp_path / "out", spec=SPEC, real=real)
    assert found is not None
    settings = found.settings
    assert (settings["seed"], settings["count"], settings["scheduler"], settings["steps"]) == (0, 70, "ddim", 2)
    assert settings["real"]["features"] == "fashion-mnist"
    assert settings["real"]["reference"] == "fashion-mnist train"
    assert "EMA" in settings["ann_weights"]
    assert set(settings["versions"]) >= {"torch", "diffusers", "torch-fidelity"}
    assert str(tmp_path) not in json.dumps(settings)
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())["fidelity"]
    assert written["energy_share"] == found.fidelity.costs.energy().share


def test_tables_name_features_counts_and_what_they_do_not_compare_with(
    converted: Converted, real: RealData, tmp_path: Path
) -> None:
    console = Console(record=True, width=120, file=(tmp_path / "printed").open("w"))
    found = evaluate_to_folder(converted, tmp_path / "out", spec=SPEC, real=real)
    assert found is not None
    print_evaluation(console, found)
    printed = console.export_text()
    for words in ("FID (fashion-mnist)", "real, held out", "70 images, ddim, 2 steps, seed 0", "not with papers",
                  "spikes per activation, of 4 at most; synaptic energy", "not measured on hardware"):  # fmt: skip
        assert words in printed
    console.file.close()


def test_without_real_images_fidelity_is_measured_all_the_same(converted: Converted, tmp_path: Path) -> None:
    spec = EvaluationSpec(count=2, steps=2, states_per_stratum=2)
    found = evaluate_to_folder(converted, tmp_path / "out", spec=spec, plots=tmp_path / "plots")
    assert found is not None
    assert found.distribution is None
    assert 0 < found.fidelity.epsilon_error < 1
    assert {file.name for file in (tmp_path / "plots").iterdir()} == {"samples.png", "error.png", "sites.png"}


def test_plots_replace_those_of_the_last_evaluation_and_no_other_picture(converted: Converted, tmp_path: Path) -> None:
    spec, plots = EvaluationSpec(count=2, steps=2, states_per_stratum=2), tmp_path / "plots"
    plots.mkdir()
    (plots / "error.png").write_text("mine")
    with pytest.raises(OutputError, match=r"error.png was not drawn by .*`plots`"):
        evaluate_to_folder(converted, tmp_path / "out", spec=spec, plots=plots)
    assert (plots / "error.png").read_text() == "mine"
    assert not (tmp_path / "out").exists()
    (plots / "error.png").unlink()
    evaluate_to_folder(converted, tmp_path / "out", spec=spec, plots=plots)
    (plots / "error.png").unlink()  # as if it had been left out
    evaluate_to_folder(converted, tmp_path / "out", spec=spec, plots=plots)
    assert (plots / "error.png").read_bytes()[1:4] == b"PNG"
    with pytest.raises(OutputError, match="was not drawn by"):
        evaluate_to_folder(converted, tmp_path / "another", spec=spec, plots=plots)


def test_too_few_images_are_refused_before_any_is_drawn(converted: Converted, real: RealData, tmp_path: Path) -> None:
    with pytest.raises(QualityError, match="needs more than 64 images"):
        measured(converted, tmp_path / "out", real, EvaluationSpec(count=64))
    assert not (tmp_path / "out").exists()


def test_the_floor_is_the_distance_of_as_many_real_images(converted: Converted, real: RealData, tmp_path: Path) -> None:
    distribution = measured(converted, tmp_path, real).distribution
    assert distribution is not None
    assert distribution.floor is not None
    assert distribution.floor_interval is not None
    assert distribution.floor_interval[0] < distribution.floor < distribution.floor_interval[1]
    assert distribution.floor < distribution.quality["ANN"].fid


def test_classes_are_drawn_as_often_as_the_real_images_have_them(
    make_unet: Callable[..., UNet2DModel], real: RealData, tmp_path: Path
) -> None:
    blocks: dict[str, Any] = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    ann, scheduler = make_unet(sample_size=32, num_class_embeds=4, **blocks), DDPMScheduler()
    snn = convert(ann, scheduler, calibration=QUICK, fidelity=FidelitySpec(1, 2)).unet
    converted = Converted(snn, scheduler, "tiny")  # pyright: ignore[reportArgumentType]
    found = measured(converted, tmp_path, dataclasses.replace(real, class_counts=(0, 5, 0)))
    words = "as often as in fashion-mnist train; 3, which they have not, is left out"
    assert found.settings["class_labels_drawn"] == words
    all_of_one = sample(ann, choose_scheduler(scheduler, "ddim"), Drawing(2, 2, class_labels=(1,)))
    assert (to_pixels(all_of_one).int() - found.drawn["ANN"][:2].int()).abs().max() <= 1
