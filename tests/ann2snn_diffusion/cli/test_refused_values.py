import re
from typing import Any

import pytest

from ann2snn_diffusion.cli.refused_values import explain
from ann2snn_diffusion.cli.resolve import Request
from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.common.specs import SpecError

FLAGS = {name: f"--{name.replace('_', '-')}" for name in ("output", "force", "time_steps", "bounds", "by", "use_ema")}


def explained(error: A2SError, flags: dict[str, Any] | None = None, **tables: Any) -> str:
    return explain(error, Request(flags or {}, "mine.toml", tables), FLAGS | {"resume": "--resume-from-checkpoint"})


def test_names_in_backticks_become_flags_where_the_command_has_them() -> None:
    error = A2SError("choose another `output`, set `force`, a `teacher`, or `resume` latest")
    assert explained(error) == "choose another --output, set --force, a teacher, or --resume-from-checkpoint latest"


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("time_steps", 0, "--time-steps 0"),
        ("bounds", (0.5, 0.95), "--bounds 0.5 0.95"),
        ("by", ("stage", "stage"), "--by stage --by stage"),
        ("use_ema", False, "--no-use-ema"),
    ],
)
def test_a_value_from_a_flag_is_shown_as_it_was_typed(field: str, value: Any, shown: str) -> None:
    error = SpecError(field, value, "less than `output`")
    assert explained(error, {field: value}) == f"{shown}: expected less than --output."


def test_a_value_from_the_recipe_is_shown_with_its_table() -> None:
    error = SpecError("bounds", (0.5, 0.9), "more")
    assert explained(error, search={"bounds": [0.5, 0.9]}) == "mine.toml [search] bounds = [0.5, 0.9]: expected more."
    assert explained(error, {"bounds": (0.5, 0.9)}, search={"bounds": [0.9, 1.1]}).startswith("--bounds 0.5 0.9:")


def test_a_value_from_a_stage_is_shown_with_its_number() -> None:
    told = explained(SpecError("steps", 0, "more"), training=[{"steps": 5}, {"steps": 0}])
    assert told == "mine.toml stage 2 of [[training]] steps = 0: expected more."


def test_a_value_that_nobody_gave_is_named_by_its_field() -> None:
    for error in (SpecError("by", "layer", "more"), SpecError("coding", "radix", "more")):
        told = explained(error, {"time_steps": 3}, spiking={"leak": 1.0}, search={"by": ["stage"]})
        assert told == f"{error.field} = {error.value!r}: expected more."
    # Derived from a flag, but not what was given.
    assert re.match("time_steps = 20: ", explained(SpecError("time_steps", 20, "less"), {"time_steps": 5}))
