import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.common.atomic_output import OutputError
from ann2snn_diffusion.common.progress import Advance, silent
from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.models.loading import Source, load_converted
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.workflows.conversion_settings import Settings
from ann2snn_diffusion.workflows.convert import convert
from ann2snn_diffusion.workflows.front import front_to_folder, networks_folder
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
    assert points[0].measured["epsilon_error"] > points[1].measured["epsilon_error"]
    assert {file.name for file in out.iterdir()} == {
        "energy-0.2", "energy-0.4", "front.json", "front.png", "samples.png",
    }  # fmt: skip
    networks = json.loads((out / "front.json").read_text())["networks"]
    assert [one["energy_share"] for one in networks] == pytest.approx([0.2, 0.4], rel=0.1)
    alone = replace(SETTINGS.calibration, energy=0.2)
    expected = convert(source.unet, source.scheduler, spec=SETTINGS.spec, calibration=alone).unet
    found = load_converted(out / "energy-0.2").unet.state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in expected.state_dict().items())


class Front:
    """Fronts of one ANN in one folder, and the energies whose networks were calibrated last."""

    def __init__(self, source: Source, folder: Path) -> None:
        self.source, self.folder = source, folder
        self.calibrated: set[str] = set()

    def convert(
        self, energies: tuple[float, ...], calibration: CalibrationSpec = SETTINGS.calibration, stop: str = ""
    ) -> None:
        self.calibrated.clear()

        def track(stage: str, steps: int) -> Advance:
            if stage.endswith("sites calibrated"):
                self.calibrated.add(stage.split(":")[0])
                if stage.split(":")[0] == stop:
                    raise KeyboardInterrupt
            return silent(stage, steps)

        settings = replace(SETTINGS, calibration=calibration)
        front_to_folder(self.source, self.folder, energies, settings=settings, writing=Writing(0), track=track)

    def stop(self) -> None:
        with pytest.raises(KeyboardInterrupt):
            self.convert((0.2, 0.4), stop="energy 0.4")

    def weights(self) -> dict[str, bytes]:
        files = self.folder.glob("*/unet/*.safetensors")
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files}


def test_a_front_that_was_stopped_goes_on_with_the_networks_that_it_has(source: Source, tmp_path: Path) -> None:
    front, whole = Front(source, tmp_path / "front"), Front(source, tmp_path / "whole")
    front.stop()
    assert [file.name[:11] for file in networks_folder(front.folder).iterdir()] == ["energy-0.2-"]
    assert not front.folder.exists()
    front.convert((0.2, 0.4))
    assert front.calibrated == {"energy 0.4"}
    whole.convert((0.2, 0.4))
    assert front.weights() == whole.weights()
    assert set(tmp_path.iterdir()) == {front.folder, whole.folder}


@pytest.mark.parametrize("change", [{"seed": 3}, {"positions": 32}])
def test_a_network_of_other_settings_is_neither_taken_over_nor_lost(
    source: Source, tmp_path: Path, change: dict[str, int]
) -> None:
    front = Front(source, tmp_path / "front")
    front.stop()
    front.convert((0.2,), replace(SETTINGS.calibration, **change))
    assert front.calibrated == {"energy 0.2"}
    assert len(list(networks_folder(front.folder).iterdir())) == 1


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("conversion_report.json", None),
        ("conversion_report.json", '{"provenance": [{"command": "convert", "settings": {}}]}'),
        ("conversion_report.json", '{"provenance": [{"command": "convert", "settings": {}, "after": {}}]}'),
        ("unet/diffusion_pytorch_model.safetensors", None),
    ],
)
def test_a_network_that_was_damaged_meanwhile_is_named_before_others_are_made(
    source: Source, tmp_path: Path, file: str, content: str | None
) -> None:
    front = Front(source, tmp_path / "front")
    front.stop()
    (network,) = networks_folder(front.folder).iterdir()
    (network / file).unlink()
    if content is not None:
        (network / file).write_text(content)
    with pytest.raises(OutputError, match=rf"{network.name} is damaged.*; delete it and run the same command again"):
        front.convert((0.2, 0.4))
    assert not front.calibrated
    assert not front.folder.exists()


def test_a_network_of_another_ann_is_not_taken_over(source: Source, tmp_path: Path) -> None:
    front = Front(source, tmp_path / "front")
    front.stop()
    source.unet.register_to_config(norm_eps=0.1)  # the same weights
    front.convert((0.2,))
    assert front.calibrated == {"energy 0.2"}


def test_networks_are_kept_until_the_front_is_there(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = Front(source, tmp_path / "front")

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("shutil.copytree", stopped)
        with pytest.raises(KeyboardInterrupt):
            front.convert((0.2,))
    front.convert((0.2,))
    assert not front.calibrated
    assert set(tmp_path.iterdir()) == {front.folder}


def test_energies_that_are_called_the_same_make_one_network(source: Source, tmp_path: Path) -> None:
    front = Front(source, tmp_path / "front")
    front.convert((0.3, 0.30000001))
    assert [file.name for file in front.folder.glob("energy-*")] == ["energy-0.3"]


def test_an_energy_out_of_reach_leaves_nothing_behind(source: Source, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"energy = 1e-05: expected more than"):
        front_to_folder(source, tmp_path / "front", (0.3, 0.00001), settings=SETTINGS, writing=Writing(0))
    assert list(tmp_path.iterdir()) == []
