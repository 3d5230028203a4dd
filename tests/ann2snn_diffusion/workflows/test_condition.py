"""Networks that take [noisy image, condition]: super-resolution, inpainting."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel, VQModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion_superresolution import LDMSuperResolutionPipeline

from ann2snn_diffusion import UNetPipeline
from ann2snn_diffusion.common.random_streams import image_stream
from ann2snn_diffusion.diffusion.conditioning import ConditionError
from ann2snn_diffusion.diffusion.sampling import Drawing, sample
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec
from ann2snn_diffusion.evaluation.spec import EvaluationSpec
from ann2snn_diffusion.models.decoder import Decoder
from ann2snn_diffusion.models.loading import Source, load_converted
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.spec import TrainingSpec
from ann2snn_diffusion.workflows.convert import ConversionError, convert, convert_source, convert_to_folder
from ann2snn_diffusion.workflows.evaluate import evaluate_to_folder
from ann2snn_diffusion.workflows.finetune import finetune_to_folder
from ann2snn_diffusion.workflows.front import front_to_folder
from ann2snn_diffusion.workflows.inspect import inspect, inspect_to_folder
from ann2snn_diffusion.workflows.result_folder import Writing
from ann2snn_diffusion.workflows.search_thresholds import search_thresholds_to_folder

QUICK = CalibrationSpec(energy=0, states=28, positions=64, sampler_steps=3)
FEW = FidelitySpec(2, 3)
PICTURES = Writing(samples=2, sample_steps=2)
BLOCKS: dict[str, Any] = {
    "block_out_channels": (4, 8), "norm_num_groups": 2, "latent_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
}  # fmt: skip
Make = Callable[..., UNet2DModel]


def super_resolution(make_unet: Make, **changes: Any) -> Source:
    """A network of noisy images of one channel, with conditions of two."""
    unet, condition = make_unet(in_channels=3, out_channels=1), torch.randn(3, 2, 8, 8).clamp(-1, 1)
    source = Source(unet, DDPMScheduler(), "sr", condition=condition)  # pyright: ignore[reportArgumentType]
    return replace(source, **changes)


@pytest.fixture(scope="module")
def folder(make_unet: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What convert makes of one."""
    place = tmp_path_factory.mktemp("condition") / "snn"
    convert_to_folder(super_resolution(make_unet), place, calibration=QUICK, writing=PICTURES)
    return place


def test_images_are_those_of_diffusers_own_pipeline(make_unet: Make) -> None:
    torch.manual_seed(0)
    unet, vqvae, scheduler = make_unet(in_channels=6, out_channels=3), VQModel(**BLOCKS), DDIMScheduler()
    condition = torch.rand(1, 3, 8, 8) * 2 - 1
    pipeline: Any = LDMSuperResolutionPipeline(vqvae=vqvae, unet=unet, scheduler=scheduler)  # pyright: ignore[reportArgumentType]
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(condition, 1, num_inference_steps=3, generator=image_stream(5, 0), output_type="np").images
    found = sample(unet, scheduler, Drawing(1, 3, 5, decode=Decoder("vqvae", vqvae), condition=condition))
    torch.testing.assert_close(found.permute(0, 2, 3, 1), torch.from_numpy(expected), rtol=1e-4, atol=1e-4)


def test_image_i_lies_beside_condition_i_whatever_the_batch_size(make_unet: Make) -> None:
    source = super_resolution(make_unet)
    condition = source.condition
    assert condition is not None
    whole = sample(source.unet, DDIMScheduler(), Drawing(5, 3, condition=condition))
    parts = sample(source.unet, DDIMScheduler(), Drawing(5, 3, batch_size=2, condition=condition))
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)
    alone = sample(source.unet, DDIMScheduler(), Drawing(1, 3, seed=4, condition=condition[1:2]))
    torch.testing.assert_close(alone, whole[4:], rtol=1e-4, atol=1e-5)
    other = sample(source.unet, DDIMScheduler(), Drawing(1, 3, seed=4, condition=condition[2:]))
    assert (other - alone).abs().max() > 1e-3


def test_a_conditional_network_converts_as_closely_as_others(make_unet: Make) -> None:
    found = convert_source(super_resolution(make_unet), calibration=QUICK, fidelity=FEW)
    plain = convert(make_unet(), DDPMScheduler(), calibration=QUICK, fidelity=FEW)
    assert found.unet.config["in_channels"] == 3
    assert found.report.epsilon_error < 1.3 * plain.report.epsilon_error


def test_with_a_learned_variance_the_mean_is_compared(make_unet: Make, tmp_path: Path) -> None:
    unet = make_unet(in_channels=2, out_channels=2)  # an image and a condition in, a mean and a variance out
    source = super_resolution(make_unet, unet=unet, condition=torch.randn(2, 1, 8, 8))
    convert_to_folder(source, tmp_path / "snn", calibration=replace(QUICK, energy=0.4), writing=Writing(samples=0))
    converted = load_converted(tmp_path / "snn")
    costs = inspect(converted.unet, converted.scheduler, fidelity=FEW, condition=source.condition)
    assert costs.energy().share > 0
    assert sample(converted.unet, DDIMScheduler(), Drawing(1, 2, condition=source.condition)).shape == (1, 1, 8, 8)
    with pytest.raises(ConditionError, match="channels: 1 with a learned variance"):
        inspect(converted.unet, converted.scheduler, fidelity=FEW)  # it would look like two channels and no condition
    with pytest.raises(ConditionError, match="fine-tuning is not supported"):
        finetune_to_folder(converted, tmp_path / "ft")


def test_a_result_folder_is_drawn_measured_and_inspected_with_conditions(
    make_unet: Make, folder: Path, tmp_path: Path
) -> None:
    assert (folder / "samples.png").exists()
    report = json.loads((folder / "conversion_report.json").read_text())
    assert report["provenance"][0]["settings"]["condition"] == "3 of 2 channels"
    converted = replace(load_converted(folder), condition=super_resolution(make_unet).condition)
    costs = inspect_to_folder(converted, tmp_path / "costs", fidelity=FEW)
    assert costs.energy().share > 0
    spec = EvaluationSpec(count=4, steps=2, states_per_stratum=2)
    found = evaluate_to_folder(converted, tmp_path / "evaluation", spec=spec)
    assert found is not None
    assert found.drawn["SNN"].shape == (4, 1, 8, 8)
    again = replace(converted, condition=torch.zeros(1, 2, 8, 8))
    other = evaluate_to_folder(again, tmp_path / "evaluation", spec=spec)
    assert other is not None
    assert not torch.equal(other.drawn["ANN"], found.drawn["ANN"])
    assert other.settings["condition_digest"] != found.settings["condition_digest"]


def test_the_model_card_s_snippet_draws_as_printed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == "UNetPipeline"
    found = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert found is not None
    *lines, last = found[1].strip().splitlines()
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec("\n".join([*lines, f"image = {last}"]), names)
    assert names["image"].size == (8, 8)
    pipeline: Any = UNetPipeline.from_pretrained(folder)
    assert isinstance(pipeline.unet, SpikingUNet2DModel)
    conditions = (torch.zeros(1, 2, 8, 8), torch.ones(1, 2, 8, 8))
    drawn = [pipeline(1, (), torch.Generator().manual_seed(0), 3, "np", one).images for one in conditions]
    assert (drawn[0] != drawn[1]).any()


def test_a_front_is_of_conditional_networks_too(make_unet: Make, tmp_path: Path) -> None:
    points = front_to_folder(super_resolution(make_unet), tmp_path / "front", [0.4], writing=Writing(samples=0))
    assert points[0].measured["epsilon_error"] < 0.05


def test_without_its_condition_a_network_is_refused_before_any_work(make_unet: Make, tmp_path: Path) -> None:
    source = super_resolution(make_unet, condition=None)
    message = r"in_channels = 3 and out_channels = 1: expected a `condition` beside the noisy image \(channels: 2\)"
    with pytest.raises(ConditionError, match=message):
        convert(source.unet, source.scheduler)
    with pytest.raises(ConditionError, match=message):
        convert_to_folder(source, tmp_path / "snn")
    with pytest.raises(ConditionError, match=message):
        front_to_folder(source, tmp_path / "snn", [0.3])
    with pytest.raises(ConditionError, match=message):
        sample(source.unet, DDIMScheduler(), Drawing(1, 2))


def test_images_beside_conditions_are_refused(make_unet: Make, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="takes a condition; it is calibrated on its sampling states alone"):
        convert_to_folder(super_resolution(make_unet), tmp_path / "snn", images=torch.zeros(1, 1, 8, 8))


def test_training_and_search_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    converted = load_converted(folder)
    with pytest.raises(ConditionError, match="takes a condition beside the noisy image: fine-tuning is not supported"):
        finetune_to_folder(converted, tmp_path / "ft", spec=TrainingSpec(steps=1))
    with pytest.raises(ConditionError, match="a search of thresholds is not supported"):
        search_thresholds_to_folder(converted, tmp_path / "guided", spec=SearchSpec(evaluations=2))
    assert list(tmp_path.iterdir()) == []
