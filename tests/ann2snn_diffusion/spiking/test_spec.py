import dataclasses
import json
from typing import Any

import pytest

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.spiking.spec import SpikeSpec


def test_a_spec_survives_json() -> None:
    spec = SpikeSpec(time_steps=3, coding="rate", segments=(-1553.65, 7), keep=("conv_out",), doubled=("mid_block",))
    assert SpikeSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"time_steps": 0}, "time_steps = 0"),
        ({"time_steps": 2.5}, "time_steps = 2.5"),
        ({"time_steps": True}, "time_steps = True"),
        ({"coding": "morse"}, "one of rate, radix, ternary"),
        ({"schedule": "synchronous"}, "rate beside the synchronous schedule"),
        ({"schedule": "sometimes"}, "one of layerwise, synchronous"),
        ({"leak": 0.5}, "unless the schedule is synchronous"),
        ({"leak": 0, "schedule": "synchronous", "coding": "rate"}, r"\(0, 1\]"),
        ({"segments": [5]}, "from 0"),
        ({"segments": 5}, "ascending"),
        ({"segments": [0, 50, 50]}, "ascending"),
        ({"segments": []}, "ascending"),
        ({"coding": "ternary", "signed_activations": False}, "negative digits"),
        ({"guidance": 0}, r"a factor in \(0, 10\]"),
        ({"doubled": [3]}, "a list of patterns of module names"),
        ({"doubled": 3}, "a list of patterns of module names"),
        ({"keep": "conv_out"}, "a list of patterns of module names"),
        ({"surrogate": "step"}, "one of rectangle"),
        ({"thresholds": 1}, "thresholds = 1: expected one of the fields time_steps, coding"),
        ({"guidance": {"segment.5": 1.0}}, "guidance = 'segment.5': expected groups among all, segment.0"),
        ({"guidance": {"all": float("nan")}}, "a table of such factors"),
        ({"guidance": 1e30}, r"a factor in \(0, 10\]"),
        ({"guidance": {"all": True}}, "a table of such factors"),
        ({"learned_step_weights": 1}, "learned_step_weights = 1: expected true or false"),
    ],
)
def test_an_impossible_spec_is_refused_with_field_and_reason(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        SpikeSpec.from_dict(values)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SpikeSpec().time_steps = 5  # pyright: ignore[reportAttributeAccessIssue]


def test_a_stored_spec_has_a_version_and_one_without_loads() -> None:
    spec = SpikeSpec(time_steps=3, doubled=("conv_out",))
    stored = spec.to_dict()
    assert SpikeSpec.from_dict(stored) == spec
    del stored["version"]
    assert SpikeSpec.from_dict(stored) == spec
    with pytest.raises(SpecError, match="version = 99: expected at most"):
        SpikeSpec.from_dict(stored | {"version": 99})
