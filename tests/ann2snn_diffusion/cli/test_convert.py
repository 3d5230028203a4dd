import json
import subprocess
import sys
from pathlib import Path

import pytest
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from ann2snn_diffusion import cli
from tests.two_processes import a2s


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


def test_help_comes_without_heavy_imports() -> None:
    code = "import sys, ann2snn_diffusion.cli as cli, typer; typer.main.get_command(cli.app); print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "ann2snn_diffusion.spiking.spec" in found
    assert not {"torch", "diffusers", "accelerate", "numpy", "scipy"} & set(found)


@pytest.mark.slow
def test_convert_then_sample(
    ddpm: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert (
        run(monkeypatch, "convert", ddpm, "--states", "14", "--samples", "2", "--time-steps", "3", "--seed", "4") == 0
    )
    printed = capsys.readouterr().out
    assert len([line for line in printed.splitlines() if "radix" in line and "%" in line]) == 5
    assert "relative ε error" in printed
    assert run(monkeypatch, "sample", "ddpm-snn", "-n", "3", "--steps", "2", "--batch-size", "2") == 0
    assert (tmp_path / "ddpm-snn-samples.png").exists()
    assert run(monkeypatch, "sample", "ddpm-snn", "-o", "pic.jpg", "-n", "1", "--steps", "1", "--quiet") == 0
    assert (tmp_path / "pic.jpg").read_bytes().startswith(b"\xff\xd8\xff")
    assert capsys.readouterr().out.count("\n") == 1
    assert "--force to replace it" in str(run(monkeypatch, "sample", "ddpm-snn", "-o", "pic.jpg", "-n", "1"))
    (tmp_path / "pic.jpg").write_text("a picture of mine")
    assert run(monkeypatch, "sample", "ddpm-snn", "-o", "pic.jpg", "-n", "1", "--steps", "1", "--quiet", "--force") == 0
    assert (tmp_path / "pic.jpg").read_bytes().startswith(b"\xff\xd8\xff")
    refused = str(run(monkeypatch, "sample", "ddpm-snn", "-o", "picture.snn"))
    assert "--output picture.snn: expected a name that ends in .png" in refused
    assert "a folder that exists" in str(run(monkeypatch, "sample", "ddpm-snn", "-o", "absent/picture.png"))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize("energy", ["0", "0.3"])
def test_two_processes_convert_as_one_does(ddpm: str, energy: str, tmp_path: Path) -> None:
    errors = []
    for name, processes in (("one", 1), ("two", 2)):
        settings = ["-o", name, "--energy", energy, "--states", "56", "--samples", "0"]
        printed = a2s("convert", ddpm, *settings, processes=processes)
        assert printed.count("relative ε error to the ANN") == printed.count("device: ") == 1
        report = json.loads((tmp_path / name / "conversion_report.json").read_text())
        errors.append(report["epsilon_error"])
    assert errors[1] == pytest.approx(errors[0], rel=0.2)
    assert errors[1] != errors[0]


def test_a_recipe_is_overridden_by_flags(ddpm: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[spiking]\ncoding = "rate"\ntime_steps = 2\n[calibration]\nstates = 14\n')
    assert run(monkeypatch, "convert", ddpm, "--recipe", "mine.toml", "--time-steps", "3", "--samples", "0") == 0
    config = (tmp_path / "ddpm-snn" / "unet" / "config.json").read_text()
    assert '"coding": "rate"' in config
    assert '"time_steps": 3' in config


def test_a_scheduler_from_elsewhere_is_said(
    ddpm: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / ddpm / "unet").rename(tmp_path / "alone")
    (tmp_path / ddpm).rename(tmp_path / "run")
    quick = ("--states", "14", "--samples", "0")
    assert "--scheduler" in str(run(monkeypatch, "convert", "alone", *quick))
    assert run(monkeypatch, "convert", "alone", "--scheduler", "run", *quick) == 0
    assert "scheduler: DDPMScheduler, run" in capsys.readouterr().out
    report = json.loads((tmp_path / "alone-snn" / "conversion_report.json").read_text())
    assert report["provenance"][0]["settings"]["scheduler"] == {"kind": "DDPMScheduler", "of": "run"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--time-steps", "0"], "--time-steps 0: expected a whole number from 1 to 16"),
        (["--coding", "morse"], "--coding morse: expected one of rate, radix, ternary"),
        (["--schedule", "synchronous"], "coding = 'radix': expected rate beside the synchronous schedule"),
        (["--energy", "0.2", "--method", "max"], "--energy 0.2: expected none beside another --method"),
        (["--energy", "1e-6"], "--energy 1e-06: expected more than"),
        (["--front", "0.2,x"], "--front 0.2,x: expected shares of the ANN's energy, such as 0.15,0.25,0.35"),
        (["--front", "0.2,0"], "--front 0.2,0: expected shares above 0"),
        (["--front", "0.2,2"], "energy = 2.0: expected a number from 0 to 1"),
        (["--front", "0.2", "--energy", "0.2"], "--front 0.2: expected no --energy beside it"),
        (["--front", "0.2", "--per", "tensor"], "energy = 0.2: expected none beside --per tensor"),
        (["--segments", "0,x"], "--segments 0,x: expected ascending diffusion timesteps from 0"),
        (["--keep", "nothing"], "matches no module"),
        (["--keep", "*"], "Nothing was converted"),
        (["--doubled", "conv_in"], "doubled = 'conv_in' matches no site"),
        (["--images", "empty"], "empty: no images"),
        (["--images", "absent"], "absent: no such folder"),
        (["--recipe", "absent"], "absent: no such file or recipe"),
        (["--recipe", "typo.toml"], "typo.toml [spiking] tempo = 4: expected one of the fields time_steps, coding"),
        (["--recipe", "table.toml"], "table.toml: expected tables among [run]"),
        (["--rules", "absent.py"], "--rules absent.py"),
        (["--device", "abacus"], "--device abacus: expected a device that is usable here"),
        (["--states", "3"], "--states 3: expected more, so that the noise segment"),
        (["-o", "empty"], "empty exists already; choose another --output, or set --force"),
        (["--seed", "-1"], "--seed -1: expected a whole number from 0"),
        (["--recipe", "paper-guidance"], "paper-guidance: a2s convert has no use for [search]"),
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
