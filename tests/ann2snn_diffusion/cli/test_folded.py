"""A folded model, and what each command does with it."""

import json
import os
from pathlib import Path

import pytest

from tests.ann2snn_diffusion.cli.saved_models import save_models
from tests.ann2snn_diffusion.cli.test_convert import run


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folded model ``light``."""
    folder, before = save_models(tmp_path_factory.mktemp("models")), Path.cwd()
    os.chdir(folder)
    with pytest.MonkeyPatch.context() as patch:
        quick = ("--energy", "0", "--states", "28", "--samples", "1", "--time-steps", "2")
        assert run(patch, "convert", "ddpm", "-o", "light", "--folded", *quick) == 0
    os.chdir(before)
    return folder / "light"


@pytest.fixture(autouse=True)
def beside_it(folded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "light").symlink_to(folded)


def test_convert_writes_one_weight_for_each_synapse_and_says_so() -> None:
    assert json.loads(Path("light/unet/config.json").read_text())["folded"] is True
    assert json.loads(Path("light/conversion_report.json").read_text())["folded"] is True
    assert Path("light/samples.png").exists()


def test_sample_draws_it_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "sample", "light", "-n", "3", "--steps", "2") == 0
    assert "light-samples.png: 3 images of SNN, T = 2; ddim, 2 steps, seed 0" in " ".join(
        capsys.readouterr().out.split()
    )


def test_inspect_says_what_could_not_be_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "inspect", "light") == 0
    printed = capsys.readouterr().out
    assert "folded, without its ANN: counted on states of the SNN's own sampling" in printed
    assert "Synapses in int8" not in printed


@pytest.mark.parametrize(
    ("arguments", "purpose"),
    [
        (["finetune", "light"], "fine-tuning"),
        (["finetune", "light", "--teacher", "nowhere"], "fine-tuning"),
        (["search-thresholds", "light"], "a search of thresholds"),
        (["search-thresholds", "light", "--objective", "fid", "--data", "nowhere"], "a search of thresholds"),
        (["evaluate", "light"], "an evaluation"),
        (["evaluate", "light", "--data", "nowhere"], "an evaluation"),
    ],
)
def test_what_needs_its_ann_is_refused_in_one_line_before_any_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], purpose: str
) -> None:
    found = str(run(monkeypatch, *arguments))
    assert found == (
        f"error: {purpose} needs the ANN, which a folded network has no more: take the network that it was folded "
        "from, or convert ddpm again without folding."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["light"]
