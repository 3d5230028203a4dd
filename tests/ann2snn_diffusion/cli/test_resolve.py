from typing import Any

import pytest

from ann2snn_diffusion.cli.resolve import Request, resolve
from ann2snn_diffusion.cli.tables import TABLES
from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.training.spec import TrainingSpec


def resolved(command: str, tables: dict[str, Any], **flags: Any) -> dict[str, Any]:
    return resolve(Request(flags, "mine.toml", tables), TABLES[command])


def test_flags_override_the_recipe_and_the_recipe_the_defaults() -> None:
    tables = {"spiking": {"coding": "rate", "time_steps": 2}, "calibration": {"states": 28}}
    assert resolved("convert", tables, time_steps=3, method="max", output="elsewhere") == {
        "spiking": SpikeSpec(coding="rate", time_steps=3),
        "calibration": CalibrationSpec(states=28, method="max"),
    }


def test_a_flag_that_repeats_a_default_overrides_the_recipe() -> None:
    tables = {"training": {"use_ema": False, "distill": 0.0, "denoise": 1.0}}
    training = resolved("finetune", tables, use_ema=True, denoise=2.0)["training"][0]
    assert (training.use_ema, training.distill, training.denoise) == (True, 0, 2)


def test_stages_are_specs_each_with_a_seed_of_its_own_and_flags_are_those_of_all() -> None:
    assert resolved("finetune", {})["training"] == (TrainingSpec(),)
    tables = {"run": {"seed": 3}, "training": [{"steps": 5}, {"learning_rate": 1e-3}]}
    assert resolved("finetune", tables)["training"] == (
        TrainingSpec(steps=5, seed=3),
        TrainingSpec(learning_rate=1e-3, seed=4),
    )
    assert resolved("finetune", tables, steps=2, seed=7)["training"] == (
        TrainingSpec(steps=2, seed=7),
        TrainingSpec(steps=2, learning_rate=1e-3, seed=8),
    )
    with pytest.raises(SpecError, match="speed = 3: expected one of the fields steps, "):
        resolved("finetune", {"training": [{"steps": 5}, {"speed": 3}]})
    with pytest.raises(SpecError, match=r"seed = 3: expected it in the table \[run\]"):
        resolved("finetune", {"training": [{"steps": 5}, {"seed": 3}]})


def test_the_seed_of_the_run_is_that_of_every_spec() -> None:
    assert resolved("convert", {"run": {"seed": 3}})["calibration"].seed == 3
    assert resolved("search-thresholds", {"run": {"seed": 3}})["search"] == SearchSpec(seed=3)
    assert resolved("search-thresholds", {"run": {"seed": 3}}, seed=5)["search"] == SearchSpec(seed=5)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"search": {"seed": 3}}, r"seed = 3: expected it in the table \[run\]"),
        ({"run": {"seed": -1}}, "seed = -1: expected a whole number from 0"),
        ({"run": {"seed": 2**63}}, "seed = "),
        ({"run": {"seed": True}}, "seed = True"),
        ({"run": {"speed": 3}}, "speed = 3: expected one of the fields seed, commands"),
        ({"search": {"optimiser": "grid"}}, "optimiser = 'grid': expected one of the fields by, optimizer"),
    ],
)
def test_impossible_values_are_refused(tables: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        resolved("search-thresholds", tables)
