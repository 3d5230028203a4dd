from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from ann2snn_diffusion.cli.command_from_specs import command
from ann2snn_diffusion.cli.recipe import RecipeError
from ann2snn_diffusion.common.atomic_output import OutputError
from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec


def called(function: Any, *arguments: str) -> None:
    """Run a function as the command of an application."""
    app = typer.Typer()
    app.command()(command(function))
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None:
        raise result.exception


def converted(*arguments: str) -> dict[str, Any]:
    """What a command of the name, and with the specs, of ``a2s convert`` is given."""
    seen: dict[str, Any] = {}

    def convert(
        source: Annotated[str, typer.Argument()] = "bundled",
        *,
        spiking: SpikeSpec,
        calibration: CalibrationSpec,
        output: Annotated[str | None, typer.Option("--output", "-o")] = None,
    ) -> None:
        seen.update(source=source, spiking=spiking, calibration=calibration, output=output)

    called(convert, *arguments)
    return seen


def searched(*arguments: str) -> SearchSpec:
    seen: list[SearchSpec] = []

    def search_thresholds(*, search: SearchSpec) -> None:
        seen.append(search)

    called(search_thresholds, *arguments)
    return seen[0]


def test_without_flags_a_command_has_the_defaults_of_its_specs() -> None:
    nothing = {"source": "bundled", "output": None}
    assert converted() == nothing | {"spiking": SpikeSpec(), "calibration": CalibrationSpec()}
    assert searched() == SearchSpec()


def test_every_form_of_a_flag_reaches_its_field() -> None:
    switches = ["--no-signed-activations", "--learned-step-weights"]
    lists = ["--segments", "0,50,300", "--keep", "conv_out", "--keep", "mid_block.*"]
    values = ["--time-steps", "3", "--coding", "rate", "--correction", "0"]
    found = converted("mine", *values, *switches, *lists, "-o", "x")
    spec = SpikeSpec(
        time_steps=3, coding="rate", signed_activations=False, learned_step_weights=True, segments=(0, 50, 300),
        keep=("conv_out", "mid_block.*"),
    )  # fmt: skip
    assert (found["spiking"], found["calibration"]) == (spec, CalibrationSpec(correction=0))
    assert (found["source"], found["output"]) == ("mine", "x")
    assert searched("--by", "stage", "--by", "kind", "--bounds", "0.8", "1.2", "-n", "28", "--seed", "3") == SearchSpec(
        by=("stage", "kind"), bounds=(0.8, 1.2), count=28, seed=3
    )


def test_flags_override_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('[run]\nseed = 5\n[search]\nby = ["stage"]\nevaluations = 7\nenergy = 0.5\n')
    assert searched("--recipe", str(recipe), "--evaluations", "9", "--energy", "0") == SearchSpec(
        by=("stage",), evaluations=9, energy=0, seed=5
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--time-steps", "0"], "--time-steps 0: expected a whole number from 1 to 16."),
        (["--segments", "0,x"], "--segments 0,x: expected ascending"),
        (["--segments", "0,50,50"], "--segments 0,50,50: expected ascending"),
        (["--leak", "nan"], "--leak nan: expected a number in (0, 1]."),
        (["--schedule", "synchronous"], "coding = 'radix': expected rate beside"),
        (["--coding", "ternary", "--no-signed-activations"], "--no-signed-activations: expected true beside ternary"),
    ],
)
def test_an_impossible_flag_is_named_as_it_was_typed(arguments: list[str], message: str) -> None:
    with pytest.raises(A2SError) as refused:
        converted(*arguments)
    assert str(refused.value).startswith(message)


def test_an_impossible_value_of_a_recipe_is_named_with_file_and_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text("[spiking]\ntime_steps = 0\n")
    with pytest.raises(A2SError, match=r"^mine.toml \[spiking\] time_steps = 0: expected a whole number"):
        converted("--recipe", "mine.toml")
    Path("mine.toml").write_text("[search]\n")
    with pytest.raises(RecipeError, match=r"^mine.toml: a2s convert has no use for \[search\]"):
        converted("--recipe", "mine.toml")


def test_errors_from_below_speak_of_the_flags_of_the_command() -> None:
    def sample(folder: str, *, output: Annotated[str, typer.Option("--to", "-o")] = "x") -> None:
        raise OutputError(f"{folder} exists: choose another `output`, or set `force`")

    with pytest.raises(A2SError, match=r"^there exists: choose another --to, or set force$"):
        called(sample, "there")
