import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.common.progress import Advance, silent
from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.models.loading import Source, load_converted
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.workflows.conversion_settings import Settings
from ann2snn_diffusion.workflows.convert import convert
from ann2snn_diffusion.workflows.front import front_to_folder
from ann2snn_diffusion.workflows.result_folder import Writing

SETTINGS = Settings(SpikeSpec(segments=(0, 300)), CalibrationSpec(states=16, positions=64, sampler_steps=4))


@pytest.fixture
def source(unet: UNet2DModel, scheduler: DDPMScheduler) -> Source:
    return Source(unet, scheduler, "tiny")  # pyright: ignore[reportArgumentType]


def test_each_energy_gives_the_network_that_a_conversion_at_it_gives(source: Source, tmp_path: Path) -> None:
    out = tmp_path / "front"
    stages: list[str] = []

    def track(stage: str, steps: int) -> Advance:
        stages.append(stage)
        return silent(stage, steps)

    points = front_to_folder(source, out, (0.4, 0.2), settings=SETTINGS, writing=Writing(2, 2), track=track)
    assert {"energy 0.2: sites calibrated", "energy 0.4: sites calibrated"} <= set(stages)
    assert [point.energy for point in points] == [0.2, 0.4]
    assert points[0].report.epsilon_error > points[1].report.epsilon_error
    assert {file.name for file in out.iterdir()} == {
        "energy-0.2", "energy-0.4", "front.json", "front.png", "samples.png",
    }  # fmt: skip
    networks = json.loads((out / "front.json").read_text())["networks"]
    assert [one["energy_share"] for one in networks] == pytest.approx([0.2, 0.4], rel=0.1)
    alone = replace(SETTINGS.calibration, energy=0.2)
    expected = convert(source.unet, source.scheduler, spec=SETTINGS.spec, calibration=alone).unet
    found = load_converted(out / "energy-0.2").unet.state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in expected.state_dict().items())


def test_an_energy_out_of_reach_leaves_nothing_behind(source: Source, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"energy = 1e-05: expected more than"):
        front_to_folder(source, tmp_path / "front", (0.3, 0.00001), settings=SETTINGS, writing=Writing(0))
    assert list(tmp_path.iterdir()) == []
