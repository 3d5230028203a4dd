import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec
from ann2snn_diffusion.models.loading import Converted, Source, load_converted
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.checkpoint import TrainingProgress
from ann2snn_diffusion.training.loop import TrainingError
from ann2snn_diffusion.training.spec import TrainingSpec
from ann2snn_diffusion.workflows.convert import convert, convert_to_folder
from ann2snn_diffusion.workflows.finetune import Finetuning, finetune, finetune_to_folder
from ann2snn_diffusion.workflows.result_folder import Writing
from ann2snn_diffusion.workflows.search_thresholds import search_thresholds_to_folder

QUICK = CalibrationSpec(energy=0, states=14, positions=64, sampler_steps=3)
SHORT = TrainingSpec(steps=2, train_batch_size=4, sampler_steps=4, lr_warmup_steps=1, even_if_worse=True)
FEW = FidelitySpec(2, 4)
NO_PICTURES = Writing(samples=0)


def test_from_python_the_argument_stays_and_nothing_is_written(
    unet: UNet2DModel, scheduler: DDPMScheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    snn = convert(unet, scheduler, spec=SpikeSpec(segments=(0,)), calibration=QUICK).unet
    before = {name: part.clone() for name, part in snn.state_dict().items()}
    found = finetune(snn, scheduler, spec=SHORT, fidelity=FEW)
    assert found is not None
    assert all(torch.equal(part, before[name]) for name, part in snn.state_dict().items())
    assert any(not torch.equal(part, before[name]) for name, part in found.unet.state_dict().items())
    assert all(parameter.requires_grad for parameter in snn.parameters())
    assert found.seconds > 0
    assert not list(tmp_path.iterdir())


def trained(snn: SpikingUNet2DModel, scheduler: DDPMScheduler, **changes: Any) -> Finetuning:
    found = finetune(snn, scheduler, spec=dataclasses.replace(SHORT, **changes), fidelity=FEW)
    assert found is not None
    return found


def same(one: SpikingUNet2DModel, other: SpikingUNet2DModel) -> bool:
    parts = other.state_dict()
    return all(torch.equal(part, parts[name]) for name, part in one.state_dict().items())


@pytest.fixture
def snn(unet: UNet2DModel, scheduler: DDPMScheduler) -> SpikingUNet2DModel:
    return convert(unet, scheduler, spec=SpikeSpec(segments=(0,)), calibration=QUICK, fidelity=FEW).unet


def test_a_training_that_made_the_network_worse_hands_it_out_as_it_was_unless_told_otherwise(
    snn: SpikingUNet2DModel, scheduler: DDPMScheduler
) -> None:
    spoilt: dict[str, Any] = {"learning_rate": 0.3, "use_ema": False}
    found = trained(snn, scheduler, even_if_worse=False, **spoilt)
    assert found.after.geometric_error > found.before.geometric_error
    assert found.improved is False
    assert same(found.unet, snn)
    assert found.report is found.before
    found = trained(snn, scheduler, **spoilt)
    assert found.improved is False
    assert not same(found.unet, snn)
    assert found.report is found.after


@pytest.mark.parametrize("changes", [{"firing_rate": 100.0}, {"learn": "all"}])
def test_where_the_error_to_its_ann_is_not_the_aim_what_was_trained_is_handed_out(
    snn: SpikingUNet2DModel, scheduler: DDPMScheduler, changes: dict[str, Any]
) -> None:
    found = trained(snn, scheduler, even_if_worse=False, learning_rate=0.3, use_ema=False, **changes)
    assert found.improved is None
    assert not same(found.unet, snn)


def test_what_predicts_nothing_finite_is_no_result(
    snn: SpikingUNet2DModel, scheduler: DDPMScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(unet: SpikingUNet2DModel, *_: Any, **__: Any) -> TrainingProgress:
        unet.synapses()["conv_out"].weight_correction.data.fill_(float("nan"))
        return TrainingProgress(1, 0.0, None)

    monkeypatch.setattr("ann2snn_diffusion.workflows.training_stages.train", spoil)
    with pytest.raises(TrainingError, match="predicts nothing finite; try a lower `learning_rate`"):
        trained(snn, scheduler)


def test_an_energy_out_of_reach_is_refused_before_anything_is_written(
    snn: SpikingUNet2DModel, scheduler: DDPMScheduler, tmp_path: Path
) -> None:
    converted = Converted(snn, scheduler, "tiny", None, folder=tmp_path / "snn")
    with pytest.raises(SpecError, match=r"energy = 1e-06: expected more than .* analog"):
        finetune_to_folder(converted, tmp_path / "out", spec=TrainingSpec(energy=1e-6), writing=NO_PICTURES)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_nothing_is_lost_of_a_model_that_was_fine_tuned_twice_and_then_guided(
    unet: UNet2DModel, scheduler: DDPMScheduler, tmp_path: Path
) -> None:
    source = Source(unet, scheduler, "tiny", "revision")  # pyright: ignore[reportArgumentType]
    spec = SpikeSpec(segments=(0,))
    convert_to_folder(source, tmp_path / "snn", spec=spec, calibration=QUICK, writing=NO_PICTURES)
    # A pipeline tells nothing but where the network came from.
    loaded: Any = load_converted(tmp_path / "snn")
    DDPMPipeline(loaded.unet, loaded.scheduler).save_pretrained(tmp_path / "saved")
    assert load_converted(tmp_path / "saved").provenance == ()
    for start, result, seed in (("snn", "one", 1), ("one", "two", 2), ("saved", "other", 3)):
        training = dataclasses.replace(SHORT, seed=seed)
        finetune_to_folder(load_converted(tmp_path / start), tmp_path / result, spec=training, writing=NO_PICTURES)
    search = SearchSpec(count=14, held_out=14, evaluations=2, bootstrap=4, sampler_steps=3)
    search_thresholds_to_folder(load_converted(tmp_path / "two"), tmp_path / "three", spec=search, writing=NO_PICTURES)
    report = json.loads((tmp_path / "three" / "conversion_report.json").read_text())
    assert [step["command"] for step in report["provenance"]] == [
        "convert", "finetune", "finetune", "search-thresholds",
    ]  # fmt: skip
    assert [step["settings"]["seed"] for step in report["provenance"][1:]] == [1, 2, 0]
    assert report["provenance"][0] == json.loads((tmp_path / "snn" / "conversion_report.json").read_text())[
        "provenance"
    ][0]  # fmt: skip
    other = load_converted(tmp_path / "other")
    assert [step["command"] for step in other.provenance] == ["finetune"]
    assert (other.name, other.revision) == ("tiny", "revision")
    card = (tmp_path / "two" / "README.md").read_text()
    assert card.count("Fine-tuned for 2 steps of 4 states") == 2
