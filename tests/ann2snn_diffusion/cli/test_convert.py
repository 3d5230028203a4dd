import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from typer.testing import CliRunner

from ann2snn_diffusion import cli
from ann2snn_diffusion.cli.recipe import RecipeError, read_recipe, recipes
from ann2snn_diffusion.cli.run import resolve, resolve_search, resolve_training
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.spiking.calibrate import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.training.spec import TrainingSpec


@pytest.fixture
def ddpm(unet: UNet2DModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained("ddpm")  # pyright: ignore[reportArgumentType]
    return "ddpm"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """Exit code of ``a2s``, or the message that it leaves on stderr with exit code 1."""
    monkeypatch.setattr(sys, "argv", ["a2s", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code


def test_help_comes_without_torch() -> None:
    code = "import sys, ann2snn_diffusion.cli; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("command", "specs"),
    [("convert", (SpikeSpec, CalibrationSpec)), ("finetune", (TrainingSpec,)), ("search-thresholds", (SearchSpec,))],
)
def test_help_names_the_defaults_of_the_specs(
    monkeypatch: pytest.MonkeyPatch, command: str, specs: tuple[Any, ...]
) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 200)
    defaults = {field.name: field.default for spec in specs for field in dataclasses.fields(spec)}
    group: Any = typer.main.get_command(cli.app)
    told = {}
    for option in group.commands[command].params:
        found = re.search(r"\[default: (.*)\]", option.help or "")
        if found and option.name in defaults:
            told[option.name] = found[1]
    assert len(told) > 5
    printed = re.sub(r"[\s│]+", " ", CliRunner().invoke(cli.app, [command, "--help"]).output)
    for name, text in told.items():
        assert f"[default: {text}]" in printed
        value = defaults[name]
        if isinstance(value, bool):
            assert text == f"{'' if value else 'no-'}{name.replace('_', '-')}"
        elif isinstance(value, tuple):
            assert not value or text == " ".join(map(str, value))
        elif value:  # 0 and "" stand for a choice that the help tells in words
            assert text in (str(value), f"{value:g}" if isinstance(value, float) else value), name


def test_convert_then_sample(
    ddpm: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert (
        run(monkeypatch, "convert", ddpm, "--states", "14", "--samples", "2", "--time-steps", "3", "--seed", "4") == 0
    )
    printed = capsys.readouterr().out
    assert "conv_out" in printed
    assert "relative ε error" in printed
    assert run(monkeypatch, "sample", "ddpm-snn", "-n", "3", "--steps", "2", "--batch-size", "2") == 0
    assert (tmp_path / "ddpm-snn-samples.png").exists()
    assert "a folder that exists" in str(run(monkeypatch, "sample", "ddpm-snn", "-o", "absent/picture.png"))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_recipe_is_overridden_by_flags(ddpm: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[spiking]\ncoding = "rate"\ntime_steps = 2\n[calibration]\nstates = 14\n')
    assert run(monkeypatch, "convert", ddpm, "--recipe", "mine.toml", "--time-steps", "3", "--samples", "0") == 0
    config = (tmp_path / "ddpm-snn" / "unet" / "config.json").read_text()
    assert '"coding": "rate"' in config
    assert '"time_steps": 3' in config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--time-steps", "0"], "time_steps = 0: expected a whole number from 1"),
        (["--coding", "morse"], "coding = 'morse'"),
        (["--schedule", "synchronous"], "coding = 'radix': expected rate beside the synchronous schedule"),
        (["--segments", "0,x"], "segments = '0,x'"),
        (["--keep", "nothing"], "matches no module"),
        (["--keep", "*"], "Nothing was converted"),
        (["--doubled", "conv_in"], "doubled = 'conv_in' matches no site"),
        (["--images", "empty"], "empty: no images"),
        (["--images", "absent"], "absent: no such folder"),
        (["--recipe", "absent"], "absent: no such file or recipe"),
        (["--recipe", "typo.toml"], "Unknown field 'tempo'"),
        (["--recipe", "table.toml"], "unknown table 'spikes'"),
        (["--rules", "absent.py"], "--rules absent.py"),
        (["--device", "abacus"], "device = 'abacus'"),
        (["--states", "3"], "states = 3"),
        (["-o", "empty"], "empty exists already"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_clear_line_and_nothing_is_written(
    ddpm: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "typo.toml").write_text("[spiking]\ntempo = 4\n")
    (tmp_path / "table.toml").write_text("[spikes]\n")
    before = sorted(tmp_path.iterdir())
    code = run(monkeypatch, "convert", ddpm, *arguments)
    assert isinstance(code, str)
    assert message in code
    assert "\n" not in code
    assert sorted(tmp_path.iterdir()) == before


def test_an_existing_folder_is_replaced_only_by_force(
    ddpm: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ddpm-snn").mkdir()
    quick = ["convert", ddpm, "--states", "14", "--samples", "0"]
    assert "--force" in str(run(monkeypatch, *quick))
    assert run(monkeypatch, *quick, "--force") == 0


def test_sample_refuses_what_was_not_converted(ddpm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "convert it first" in str(run(monkeypatch, "sample", ddpm))
    assert "no unet/config.json" in str(run(monkeypatch, "sample", "absent"))


def test_a_torchvision_that_does_not_fit_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(cli, "app", fail)
    assert "torch and torchvision do not fit together" in str(run(monkeypatch))


def test_recipes_are_found_by_name_and_open_with_their_command() -> None:
    assert recipes()
    for name, path in recipes().items():
        command = path.read_text().splitlines()[0]
        assert command.startswith("# a2s convert ")
        assert command.endswith(f"--recipe {name}")
        assert read_recipe(name)
        for part in (resolve(name, {}, {}, {}), resolve_training(name, None), resolve_search(name, None)):
            assert part.seed == 0


def test_a_broken_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("= 4")
    with pytest.raises(RecipeError, match="not readable as TOML"):
        read_recipe(str(tmp_path / "broken.toml"))
