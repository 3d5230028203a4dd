import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from PIL import Image

from ann2snn_diffusion import SpikingUNet2DModel, cli
from ann2snn_diffusion.diffusion.sampling import NotFiniteError
from ann2snn_diffusion.models.loading import Source
from ann2snn_diffusion.search.objectives import Objective
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.workflows import search_thresholds as threshold_search
from ann2snn_diffusion.workflows.convert import convert_to_folder
from ann2snn_diffusion.workflows.result_folder import Writing
from tests.ann2snn_diffusion.cli.test_convert import run
from tests.conftest import build_unet
from tests.two_processes import ENVIRONMENT, a2s

QUICK = ["-n", "28", "--held-out", "28", "--evaluations", "5", "--samples", "2", "--bootstrap", "10"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted model ``snn``, its ANN ``ddpm``, a few ``images``."""
    folder = tmp_path_factory.mktemp("models")
    scheduler = DDPMScheduler()
    DDPMPipeline(build_unet(), scheduler).save_pretrained(folder / "ddpm")  # pyright: ignore[reportArgumentType]
    source = Source(build_unet(), scheduler, "ddpm")  # pyright: ignore[reportArgumentType]
    quick = CalibrationSpec(energy=0, states=28, positions=64, sampler_steps=3)
    convert_to_folder(
        source, folder / "snn", spec=SpikeSpec(segments=(0, 300)), calibration=quick, writing=Writing(samples=0)
    )
    (folder / "images").mkdir()
    generator = np.random.default_rng(0)
    for index in range(20):
        picture = Image.fromarray(generator.integers(256, size=(8, 8), dtype=np.uint8))
        picture.save(folder / "images" / f"{index}.png")
    return folder


@pytest.fixture(autouse=True)
def here(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in folders.iterdir():
        (tmp_path / place.name).symlink_to(place)


def plant(monkeypatch: pytest.MonkeyPatch, best: float) -> None:
    """An objective whose optimum is known."""

    def draw(unet: SpikingUNet2DModel) -> torch.Tensor:
        guidance: Any = unet.guidance
        factor = guidance["all"] if isinstance(guidance, dict) else guidance
        return torch.full((8,), 1 + (factor - best) ** 2, dtype=torch.float64)

    objective = Objective("planted", draw, lambda rows: rows.mean().item())
    monkeypatch.setattr(threshold_search, "objective_of", lambda *_: objective)


def test_the_model_that_is_written_is_guided_wherever_it_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plant(monkeypatch, 0.95)
    assert run(monkeypatch, "search-thresholds", "snn", "--optimizer", "grid", *QUICK) == 0
    printed = capsys.readouterr().out
    assert "a gain; the winner's factors are stored" in printed
    unet: Any = DDPMPipeline.from_pretrained(tmp_path / "snn-guided").unet
    plain: Any = DDPMPipeline.from_pretrained(tmp_path / "snn").unet
    assert unet.guidance == {"all": 0.95}
    assert plain.guidance == 1
    state, timestep = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 700])
    with torch.no_grad():
        guided, unguided = (network(state, timestep).sample for network in (unet, plain))
        assert not torch.equal(guided, unguided)
        unet.guidance = 1.0
        assert torch.equal(unet(state, timestep).sample, unguided)
    written = json.loads((tmp_path / "snn-guided" / "threshold_search.json").read_text())
    assert written["stored"] == {"all": 0.95}
    assert written["settings"]["optimizer"] == "grid"
    assert written["verdict"]["wins"] is True
    assert len(written["evaluations"]) == 5
    for name in ("search.png", "trade_off.png", "samples.png"):
        assert (tmp_path / "snn-guided" / name).read_bytes()[1:4] == b"PNG"
    card = (tmp_path / "snn-guided" / "README.md").read_text()
    assert "Threshold guidance: all 0.95" in card
    assert "guidance" not in (tmp_path / "snn" / "README.md").read_text()
    for file in (tmp_path / "snn-guided").rglob("*.json"):
        assert str(tmp_path) not in file.read_text(), file


def test_a_winner_that_does_not_win_held_out_leaves_factor_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plant(monkeypatch, 1.0)
    assert run(monkeypatch, "search-thresholds", "snn", *QUICK) == 0
    assert "factor 1 is stored" in capsys.readouterr().out
    unet: Any = DDPMPipeline.from_pretrained(tmp_path / "snn-guided").unet
    assert unet.guidance == {"all": 1.0}
    assert "guidance" not in (tmp_path / "snn-guided" / "README.md").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--by", "segment", "--by", "stage", "--optimizer", "differential-evolution"],
        ["--by", "kind", "--optimizer", "cobyqa", "--energy", "0.1"],
        ["--objective", "denoise", "--data", "images", "-n", "4", "--held-out", "14"],
        ["--recipe", "mine.toml", "--minutes", "10"],
    ],
    ids=" ".join,
)
def test_searches_of_every_kind_end_with_a_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "mine.toml").write_text('[run]\nseed = 3\n[search]\nby = ["stage"]\noptimizer = "direct"\n')
    assert run(monkeypatch, "search-thresholds", "snn", "-o", "guided", *QUICK, *arguments) == 0
    written = json.loads((tmp_path / "guided" / "threshold_search.json").read_text())
    assert len(written["evaluations"]) == 5
    assert written["evaluations"][0]["guidance"] == dict.fromkeys(written["groups"], 1.0)
    SpikingUNet2DModel.from_pretrained(tmp_path / "guided", subfolder="unet")


def test_samples_that_are_not_finite_cost_a_picture_not_the_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plant(monkeypatch, 0.95)

    def draw(unet: Any, *_: object, **__: object) -> torch.Tensor:
        if not unet.mode.analog:  # the spiking network, not its ANN
            raise NotFiniteError("not finite")
        return torch.zeros(2, 1, 8, 8)

    monkeypatch.setattr("ann2snn_diffusion.workflows.result_folder.sample", draw)
    assert run(monkeypatch, "search-thresholds", "snn", *QUICK) == 0
    assert (tmp_path / "snn-guided" / "samples.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "no unet/config.json"),
        (["ddpm"], "convert it first"),
        (["snn", "--bounds", "0.5", "0.9"], "a range around 1"),
        (["snn", "--by", "layer"], "--by layer: expected a list, each one of segment, stage, kind"),
        (["snn", "--optimizer", "adam"], "--optimizer adam: expected one of bounded, grid"),
        (["snn", "--objective", "fid"], "objective = 'fid': expected real images; name them with --data"),
        (["snn", "--objective", "denoise"], "objective = 'denoise': expected images; name them with --data"),
        (["snn", "--objective", "denoise", "--data", "images"], "20 images; denoise needs 1280, 256 to search with"),
        (["snn", "--objective", "fid", "--data", "images", "--features", "vgg"], "features = 'vgg'"),
        (["snn", "--objective", "denoise", "--data", "nowhere"], "nowhere"),
        (["snn", "-n", "5"], "count = 5: expected at least 14: epsilon needs a state in each noise stratum"),
        (["snn", "-n", "28", "--held-out", "5"], "--held-out 5: expected at least 14"),
        (["snn", "--data", "images"], "--data images: expected --objective denoise, fid or kid beside it"),
        (["snn", "--features", "inception"], "--features inception: expected --objective fid or kid beside it"),
        (["snn", "-o", "."], "name a folder within it"),
        (["snn", "--by", "kind", "--optimizer", "grid", "--evaluations", "9"], "a grid of 4 factors needs at least 17"),
        (["snn", "--recipe", "flat.toml"], "flat.toml: expected tables among [run], "),
        (["snn", "--recipe", "seeded.toml"], "seeded.toml [search] seed = 7: expected it in the table [run]"),
        (["snn", "--device", "meta"], "--device meta: expected a device that is usable here"),
        (["snn", "-o", "snn"], "snn exists already"),
        (["snn", "-o", "file/guided"], "file"),
        (["snn", "--recipe", "bad.toml"], 'bad.toml [search] optimiser = "grid": expected one of the fields by'),
        (["snn", "--device", "cuda:77"], "usable here"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_clear_line_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "bad.toml").write_text('[search]\noptimiser = "grid"\n')
    (tmp_path / "flat.toml").write_text("search = 5\n")
    (tmp_path / "seeded.toml").write_text("[search]\nseed = 7\n")
    before = sorted(tmp_path.rglob("*"))
    code = run(monkeypatch, "search-thresholds", *arguments)
    assert isinstance(code, str)
    assert message in code
    assert "\n" not in code
    assert sorted(tmp_path.rglob("*")) == before


def test_a_journal_of_another_objective_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, "search-thresholds", "snn", *QUICK) == 0
    again = ["search-thresholds", "snn", "--force", *QUICK, "--objective", "denoise", "--data", "images"]
    code = run(monkeypatch, *again, "-n", "4", "--held-out", "14")
    assert isinstance(code, str)
    assert "count was 28, now 4" in code
    assert "belong to another search" in code


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    settings = ["--by", "stage", *QUICK, "--evaluations", "30", "--samples", "0"]
    program = [sys.executable, "-m", "ann2snn_diffusion.cli", "search-thresholds", "snn", "-o", "killed", *settings]
    journal = tmp_path / "killed-search" / "journal.jsonl"
    process = subprocess.Popen(program, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not journal.exists() or len(journal.read_text().splitlines()) < 4:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed").exists()
    kept = journal.read_text()[: journal.read_text().rindex("\n") + 1]
    for name in ("killed", "whole"):
        a2s("search-thresholds", "snn", "-o", name, *settings)
    assert journal.read_text().startswith(kept)
    killed, whole = (
        json.loads((tmp_path / name / "threshold_search.json").read_text()) for name in ("killed", "whole")
    )
    for found in (killed, whole):
        for one in [*found["evaluations"], found["winner"]]:
            del one["seconds"]
    assert killed == whole


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    settings = [*QUICK, "--batch-size", "10", "--samples", "0"]
    for name, processes in (("one", 1), ("two", 2)):
        found = a2s("search-thresholds", "snn", "-o", name, *settings, processes=processes)
        assert found.count("settings tried") == 1
    one, two = (json.loads((tmp_path / name / "threshold_search.json").read_text()) for name in ("one", "two"))
    assert [found["value"] for found in one["evaluations"]] == [found["value"] for found in two["evaluations"]]
    assert one["verdict"] == two["verdict"]


def test_help_names_the_groups_and_optimizers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["a2s", "search-thresholds", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    text = capsys.readouterr().out
    assert all(word in text for word in ("segment", "stage", "kind", "differential-evolution", "--energy"))
