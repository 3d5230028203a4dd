import json
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from ann2snn_diffusion import CalibrationSpec, FidelitySpec, convert, fold, inspect, inspect_to_folder, load_converted
from ann2snn_diffusion.common.atomic_output import OutputError
from ann2snn_diffusion.evaluation.cost_tables import TABLES
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

QUICK, FEW = CalibrationSpec(energy=0, states=28, positions=64, sampler_steps=3), FidelitySpec(1, 3)


@pytest.fixture
def snn(unet: UNet2DModel, scheduler: DDPMScheduler) -> SpikingUNet2DModel:
    return convert(unet, scheduler, calibration=QUICK, fidelity=FEW).unet


def test_costs_are_those_of_the_conversions_own_report(unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
    conversion = convert(unet, scheduler, calibration=QUICK, fidelity=FEW)
    before = {name: tensor.clone() for name, tensor in conversion.unet.state_dict().items()}
    costs = inspect(conversion.unet, scheduler, fidelity=FEW)
    assert costs == conversion.report.costs
    assert conversion.report.figures()["energy_share"] == costs.energy("horowitz-45nm").share
    assert 0 < costs.energy("horowitz-45nm").share < 1
    assert costs.accumulates > costs.multiply_accumulates > 0
    assert all(torch.equal(before[name], tensor) for name, tensor in conversion.unet.state_dict().items())


def test_the_folder_holds_counts_and_pictures(
    snn: SpikingUNet2DModel, scheduler: DDPMScheduler, tmp_path: Path
) -> None:
    converted = Converted(snn, scheduler, "tiny")  # pyright: ignore[reportArgumentType]
    costs = inspect_to_folder(converted, tmp_path / "costs", table=TABLES["int8"], fidelity=FEW)
    pictures = {"energy.png", "spikes.png", "raster.png", "trains.png"}
    assert {file.name for file in (tmp_path / "costs").iterdir()} == pictures | {"costs.json"}
    assert all((tmp_path / "costs" / name).read_bytes()[1:4] == b"PNG" for name in pictures)
    content = json.loads((tmp_path / "costs" / "costs.json").read_text())
    assert content["cost_table"]["name"] == "int8"
    assert content["totals"]["energy_share"] == costs.energy("int8").share


def test_a_file_in_the_place_of_the_folder_is_refused_before_any_work(
    snn: SpikingUNet2DModel, scheduler: DDPMScheduler, tmp_path: Path
) -> None:
    (tmp_path / "costs").write_text("mine")
    with pytest.raises(OutputError, match="costs is a file"):
        inspect_to_folder(Converted(snn, scheduler, "tiny"), tmp_path / "costs")  # pyright: ignore[reportArgumentType]


def test_a_folder_that_a_pipeline_saved_is_inspected_like_any_other(
    snn: SpikingUNet2DModel, scheduler: DDPMScheduler, tmp_path: Path
) -> None:
    DDPMPipeline(snn, scheduler).save_pretrained(tmp_path / "saved")  # pyright: ignore[reportArgumentType]
    loaded = load_converted(tmp_path / "saved")
    assert inspect(loaded.unet, loaded.scheduler, fidelity=FEW) == inspect(snn, scheduler, fidelity=FEW)


def test_a_folded_network_is_counted_on_states_of_its_own_but_not_its_anns_zeros(
    snn: SpikingUNet2DModel, scheduler: DDPMScheduler, tmp_path: Path
) -> None:
    converted = Converted(fold(snn), scheduler, "tiny")  # pyright: ignore[reportArgumentType]
    costs, usual = inspect_to_folder(converted, tmp_path, fidelity=FEW), inspect(snn, scheduler, fidelity=FEW)
    assert costs.ann_effective is None
    assert json.loads((tmp_path / "costs.json").read_text())["totals"]["ann_int8_multiply_accumulates"] is None
    assert costs.accumulates == pytest.approx(usual.accumulates, rel=0.05)
    assert costs.multiply_accumulates == usual.multiply_accumulates
    assert costs.element_wise == usual.element_wise
    for one, other in zip(costs.synapses, usual.synapses, strict=True):
        same = (
            "name",
            "driven_by",
            "operations",
            "ann_multiply_accumulates",
            "weights",
            "inputs",
            "outputs",
            "neurons",
        )
        assert [getattr(one, field) for field in same] == [getattr(other, field) for field in same]
