"""Models without a β schedule, in the structure of public checkpoints: variance exploding ones, consistency models."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    CMStochasticIterativeScheduler,
    ConsistencyModelPipeline,
    DiffusionPipeline,
    ScoreSdeVePipeline,
    ScoreSdeVeScheduler,
)

from ann2snn_diffusion.diffusion.noise_schedule import ScheduleError
from ann2snn_diffusion.evaluation.spec import EvaluationSpec
from ann2snn_diffusion.models.loading import Converted, load_converted, load_source
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.workflows.convert import Conversion, convert_to_folder
from ann2snn_diffusion.workflows.evaluate import evaluate_to_folder
from ann2snn_diffusion.workflows.finetune import finetune_to_folder
from ann2snn_diffusion.workflows.result_folder import Writing
from ann2snn_diffusion.workflows.search_thresholds import search_thresholds_to_folder
from tests.ann2snn_diffusion.cli.test_convert import run
from tests.conftest import build_unet

NCSNPP: dict[str, Any] = {
    "in_channels": 3, "out_channels": 3, "sample_size": 16, "norm_eps": 1e-6, "norm_num_groups": None,
    "block_out_channels": (32, 32), "attention_head_dim": None, "time_embedding_type": "fourier",
    "mid_block_scale_factor": 2**0.5, "down_block_types": ("SkipDownBlock2D", "AttnSkipDownBlock2D"),
    "up_block_types": ("AttnSkipUpBlock2D", "SkipUpBlock2D"),
}  # fmt: skip
CD_IMAGENET64: dict[str, Any] = {
    "in_channels": 3, "out_channels": 3, "sample_size": 16, "norm_num_groups": 4, "attn_norm_num_groups": 4,
    "block_out_channels": (8, 16), "attention_head_dim": 8, "layers_per_block": 2, "num_class_embeds": 10,
    "resnet_time_scale_shift": "scale_shift", "downsample_type": "resnet", "upsample_type": "resnet",
    "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
}  # fmt: skip
QUICK = CalibrationSpec(energy=0, states=44, positions=64, sampler_steps=4)
KINDS = ("ScoreSdeVePipeline", "ConsistencyModelPipeline")


def pipeline_of(kind: str) -> DiffusionPipeline:
    pipelines = {
        "ScoreSdeVePipeline": lambda: ScoreSdeVePipeline(
            build_unet(**NCSNPP), ScoreSdeVeScheduler(num_train_timesteps=100, sigma_max=348.0)
        ),
        "ConsistencyModelPipeline": lambda: ConsistencyModelPipeline(
            build_unet(**CD_IMAGENET64), CMStochasticIterativeScheduler()
        ),
    }
    return pipelines[kind]()


@pytest.fixture(scope="module", params=KINDS)
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Conversion]:
    """A pipeline's class, where its ANN ``ann`` and the converted model ``snn`` lie, and what was measured."""
    place = tmp_path_factory.mktemp(request.param)
    pipeline_of(request.param).save_pretrained(place / "ann")
    writing = Writing(samples=1, sample_steps=2)
    return request.param, place, convert_to_folder(load_source(str(place / "ann")), place / "snn", calibration=QUICK,
                                                   writing=writing)  # fmt: skip


def test_it_converts_with_small_errors_in_every_stratum(result: tuple[str, Path, Conversion]) -> None:
    _, place, conversion = result
    assert len(conversion.report.strata) > 8
    assert all(stratum.epsilon_error < 0.3 for stratum in conversion.report.strata)
    assert conversion.report.epsilon_error < 0.05
    assert len(conversion.unet.spec.segments) > 8
    assert conversion.report.spike_driven > 0.9
    assert (place / "snn" / "samples.png").read_bytes()[1:4] == b"PNG"


def test_its_ann_is_the_original_to_the_bit(result: tuple[str, Path, Conversion]) -> None:
    kind, _, conversion = result
    original: Any = pipeline_of(kind)
    states, told = torch.randn(2, 3, 16, 16), torch.tensor([0.3, 40.0])
    labels = None if original.unet.config["num_class_embeds"] is None else torch.tensor([1, 0])
    with analog(conversion.unet), torch.no_grad():
        found, expected = (one(states, told, labels).sample for one in (conversion.unet, original.unet))
    assert torch.equal(found, expected)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers with NumPy 2
def test_the_model_card_s_snippet_draws_as_printed(
    result: tuple[str, Path, Conversion], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, place, _ = result
    monkeypatch.chdir(place / "snn")
    assert json.loads(Path("model_index.json").read_text())["_class_name"] == kind
    found = re.search(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    assert found is not None
    *lines, last = found[1].strip().splitlines()
    names: dict[str, Any] = {}
    exec("\n".join([*lines, f"image = {last}"]), names)
    assert names["image"].size == (16, 16)


def test_evaluate_draws_and_measures(result: tuple[str, Path, Conversion], tmp_path: Path) -> None:
    converted = load_converted(result[1] / "snn")
    found = evaluate_to_folder(converted, tmp_path / "evaluation", spec=EvaluationSpec(count=2, steps=3))
    assert found is not None
    assert found.drawn["ANN"].shape == (2, 3, 16, 16)
    assert found.settings["scheduler"] in ("heunve", "cmstochasticiterative")
    assert found.fidelity.epsilon_error < 0.05


def test_sample_tells_which_sampler_drew(
    result: tuple[str, Path, Conversion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    kind, place, _ = result
    more, told = ["--class-labels", "3,1"], "cmstochasticiterative, 40 steps"  # as many as it has
    if kind == "ScoreSdeVePipeline":
        more, told = ["--steps", "3"], "heunve, 3 steps"
    picture = tmp_path / "grid.png"
    assert run(monkeypatch, "sample", str(place / "snn"), "-n", "1", "-o", str(picture), *more) == 0
    assert told in capsys.readouterr().out
    assert picture.read_bytes()[1:4] == b"PNG"


def test_what_needs_betas_is_refused_by_name(result: tuple[str, Path, Conversion], tmp_path: Path) -> None:
    converted: Converted = load_converted(result[1] / "snn")
    kind = type(converted.scheduler).__name__
    with pytest.raises(ScheduleError, match=f"{kind}: fine-tuning needs a scheduler with a β schedule"):
        finetune_to_folder(converted, tmp_path / "ft")
    with pytest.raises(ScheduleError, match=f"{kind}: a search of thresholds needs a scheduler with a β schedule"):
        search_thresholds_to_folder(converted, tmp_path / "guided")
    assert not list(tmp_path.iterdir())
