import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, UNet2DModel

from ann2snn_diffusion import Report, fold, inspect, load_converted, load_source, report, report_to_file
from ann2snn_diffusion.common.digest import digest
from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec
from ann2snn_diffusion.evaluation.records import RecordError
from ann2snn_diffusion.models.loading import Converted, Source
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.workflows.convert import convert_to_folder
from ann2snn_diffusion.workflows.report import ReportError
from ann2snn_diffusion.workflows.result_folder import Writing
from tests.ann2snn_diffusion.evaluation.test_records import SETTINGS
from tests.ann2snn_diffusion.workflows.test_pipelines import pipeline_of
from tests.conftest import build_unet

QUICK = CalibrationSpec(energy=0, states=28, positions=64, sampler_steps=3)
FEW = FidelitySpec(1, 3)
Make = Callable[..., UNet2DModel]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("report") / "snn"
    source = Source(build_unet(), DDIMScheduler(), "tiny <b>")  # pyright: ignore[reportArgumentType]
    convert_to_folder(source, place, calibration=QUICK, writing=Writing(samples=0))
    return place


def page_of(converted: Converted, tmp_path: Path, **given: Any) -> tuple[Report, str]:
    found = report_to_file(converted, tmp_path / "page.html", fidelity=FEW, **given)
    return found, (tmp_path / "page.html").read_text()


def left_out(page: str) -> list[str]:
    return re.findall(r'class="left-out">(.*?)</p>', page)


def test_it_has_what_was_counted_drawn_and_recorded(folder: Path, tmp_path: Path) -> None:
    converted = load_converted(folder)
    before = digest(converted.unet)
    found, page = page_of(converted, tmp_path)
    recorded = json.loads((folder / "conversion_report.json").read_text())
    assert found.costs == inspect(converted.unet, converted.scheduler, fidelity=FEW)
    assert found.fidelity is not None
    assert found.fidelity.epsilon_error == recorded["epsilon_error"]
    assert list(found.samples) == list(found.denoising) == ["ANN", "SNN"]
    assert digest(converted.unet) == before
    assert left_out(page) == ["FID is left out: no evaluation of this model was given."]
    assert page.count("counted operations × published constants, not measured on hardware") == 3
    assert all(f">{site['name'].removesuffix('.neuron').replace('.processor', '')}</td>" in page
               for site in recorded["sites"])  # fmt: skip
    assert "a2s convert" in page
    assert "least-squares" in page


def test_names_are_text_never_markup_and_never_a_path(folder: Path, tmp_path: Path) -> None:
    _, page = page_of(load_converted(folder), tmp_path)
    assert "tiny &lt;b&gt;" in page
    assert "tiny <b>" not in page
    assert str(folder.parent) not in page
    assert re.findall(r'(?:src|href)="(?!data:|#)', page) == []


def test_an_evaluation_of_this_network_is_shown_and_of_another_refused(folder: Path, tmp_path: Path) -> None:
    converted, measured = load_converted(folder), tmp_path / "evaluation"
    quality = {"fid": 5.02, "fid_interval": [4.6, 5.4], "kid": 0.4, "kid_deviation": 0.1, "inception_score": 6,
               "inception_score_deviation": 0.2, "precision": 0.8, "recall": 0.7}  # fmt: skip
    found: dict[str, Any] = {
        "settings": SETTINGS | {"snn_digest": digest(converted.unet)[:16]},
        "images": {"psnr": 36, "ssim": 0.97},
        "distribution": {"quality": {"ANN": quality | {"fid": 4.74}, "SNN": quality}, "fid_difference": 0.28,
                         "fid_difference_interval": [0.18, 0.36]},
    }  # fmt: skip
    measured.mkdir()
    (measured / "evaluation.json").write_text(json.dumps(found))
    _, page = page_of(converted, tmp_path, evaluation=measured)
    assert left_out(page) == []
    for words in ('<p class="figure">5.02</p>', "its ANN has 4.74", "4.60 … 5.40", "+0.18 … +0.36", "2,000 images"):
        assert words in page
    (measured / "evaluation.json").write_text(json.dumps(found | {"distribution": None}))
    _, page = page_of(converted, tmp_path, evaluation=measured, force=True)
    assert left_out(page) == ["FID is left out: the evaluation had no real images."]
    found["settings"]["snn_digest"] = "another"
    (measured / "evaluation.json").write_text(json.dumps(found))
    with pytest.raises(ReportError, match="of another network than this one"):
        report_to_file(converted, tmp_path / "other.html", evaluation=measured)
    assert not (tmp_path / "other.html").exists()


def test_a_folded_network_is_shown_alone(folder: Path) -> None:
    converted = load_converted(folder)
    found = report(replace(converted, unet=fold(converted.unet)), fidelity=FEW)
    assert list(found.samples) == list(found.denoising) == ["SNN"]
    assert found.folded


def test_a_folder_that_a_pipeline_saved_leaves_out_what_it_does_not_tell(folder: Path, tmp_path: Path) -> None:
    converted = load_converted(folder)
    pipeline = DDPMPipeline(converted.unet, converted.scheduler)  # pyright: ignore[reportArgumentType]
    pipeline.save_pretrained(tmp_path / "saved")
    found, page = page_of(load_converted(tmp_path / "saved"), tmp_path)
    assert found.fidelity is None
    assert left_out(page)[1:] == [
        "Left out: this folder has no conversion_report.json with a fidelity in it.",
        "Left out: this folder does not tell what was done to it.",
    ]
    assert "Error, correlation and saturation are left out" in page


def test_a_report_from_before_there_were_strata_leaves_them_out(folder: Path, tmp_path: Path) -> None:
    early = json.loads((folder / "conversion_report.json").read_text())
    kept = {name: early[name] for name in ("source", "spiking", "epsilon_error", "epsilon_error_low_noise")}
    pipeline = load_converted(folder)
    DDPMPipeline(pipeline.unet, pipeline.scheduler).save_pretrained(tmp_path / "early")  # pyright: ignore[reportArgumentType]
    (tmp_path / "early" / "conversion_report.json").write_text(json.dumps(kept | {"calibration": {"states": 28}}))
    _, page = page_of(load_converted(tmp_path / "early"), tmp_path)
    assert "The error by noise level is left out: this folder does not tell it." in left_out(page)
    assert "1. a2s convert" in page


@pytest.mark.parametrize("kind", ["LDM", "labels", "variance"])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers with NumPy 2
def test_models_of_all_kinds_have_a_page(make_unet: Make, tmp_path: Path, kind: str) -> None:
    pipeline_of(kind, make_unet).save_pretrained(tmp_path / "ann")
    source = load_source(str(tmp_path / "ann"))
    convert_to_folder(source, tmp_path / "snn", calibration=QUICK, writing=Writing(samples=0))
    found, page = page_of(load_converted(tmp_path / "snn"), tmp_path)
    side = 16 if kind == "LDM" else 8
    assert found.denoising["SNN"].images.shape[-2:] == found.samples["SNN"].shape[-2:] == (side, side)
    assert page.count("<img") == 2 * 8 + 3


def test_channels_that_are_no_colours_and_conditions_have_a_page(make_unet: Make, tmp_path: Path) -> None:
    condition = torch.zeros(1, 2, 8, 8)
    unet = make_unet(in_channels=4, out_channels=2)
    source = Source(unet, DDIMScheduler(), "tiny", condition=condition)  # pyright: ignore[reportArgumentType]
    convert_to_folder(source, tmp_path / "snn", calibration=QUICK, writing=Writing(samples=0))
    found, page = page_of(replace(load_converted(tmp_path / "snn"), condition=condition), tmp_path)
    assert found.samples["SNN"].shape[1:] == (2, 8, 8)
    assert page.count("<img") == 2 * 8 + 3


def test_an_image_that_cannot_be_drawn_is_left_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = load_converted(folder)
    monkeypatch.setattr(torch, "isfinite", lambda found: torch.zeros_like(found, dtype=torch.bool))
    found, page = page_of(converted, tmp_path)
    assert not found.samples
    assert left_out(page)[:2] == ["No images could be drawn.", "No image could be followed through its steps."]


def test_places_and_evaluations_are_refused_before_any_work(folder: Path, tmp_path: Path) -> None:
    converted = load_converted(folder)
    (tmp_path / "mine.html").write_text("mine")
    for name, message in {
        "mine.html": "exists already", "page.pdf": r"expected a name that ends in \.html",
        "absent/page.html": "in a folder that exists",
    }.items():  # fmt: skip
        with pytest.raises(A2SError, match=message):
            report_to_file(converted, tmp_path / name, evaluation=tmp_path)
    with pytest.raises(RecordError, match="expected a folder that a2s evaluate wrote"):
        report_to_file(converted, tmp_path / "page.html", evaluation=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.html"]
    assert (tmp_path / "mine.html").read_text() == "mine"
