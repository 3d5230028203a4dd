import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, nan
from typing import Any, Literal

import pytest

from ann2snn_diffusion.common.specs import SpecError, build, check, setting, settings


@dataclass(frozen=True)
class Every:
    """A field of every kind."""

    whole: int = setting(2, "A whole number.", at_least=1, at_most=16)
    number: float = setting(0.5, "A number.", above=0)
    share: float = setting(0.5, "A share.", above=0, at_most=1)
    any_number: float = setting(0.0, "Any number.")
    flag: bool = setting(True, "A switch.")
    text: str = setting("", "A text.")
    choice: Literal["", "red", "blue"] = setting("", "A colour.")
    wholes: tuple[int, ...] = setting((), "Numbers.", at_least=0)
    pair: tuple[float, float] = setting((0.0, 1.0), "A pair.", in_words="two numbers")
    factors: float | Mapping[str, float] = setting(1.0, "One factor, or several.", at_least=0)

    def __post_init__(self) -> None:
        check(self)


EXPECTED = {
    "whole": "a whole number from 1 to 16",
    "number": "a number above 0",
    "share": "a number in (0, 1]",
    "any_number": "a number",
    "flag": "true or false",
    "text": "a text",
    "choice": "one of red, blue",
    "wholes": "a list, each a whole number from 0",
    "pair": "two numbers",
    "factors": "a number from 0 or a table, each a number from 0",
}
REFUSED: dict[str, list[Any]] = {
    "whole": [0, 17, 1.0, True, "1", None, nan, inf],
    "number": [0, -1, nan, inf, -inf, True, "1", None],
    "share": [0, 1.1, nan, True],
    "any_number": [nan, inf, -inf, True, None],
    "flag": [1, 0, "true", None],
    "text": [1, None],
    "choice": ["green", 1, None, ("red",)],
    "wholes": [1, "1", (1.5,), (True,), (-1,), None],
    "pair": [(1,), (1, 2, 3), (1, nan), 1, ("0", "1")],
    "factors": [-1, {"all": -1}, {"all": True}, {1: 1.0}, "1", nan],
}
ACCEPTED: dict[str, list[Any]] = {
    "whole": [1, 16],
    "number": [1e-9, 10**400],
    "share": [1],
    "any_number": [-5, 5],
    "flag": [False],
    "text": ["any"],
    "choice": ["", "red", "blue"],
    "wholes": [(), (0, 5)],
    "pair": [(0, 1.5)],
    "factors": [0, {}, {"all": 0.5}],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, all_ in REFUSED.items() for value in all_])
def test_a_value_of_another_type_or_out_of_range_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(SpecError) as refused:
        Every(**{field: value})
    error = refused.value
    assert (error.field, error.expected) == (field, EXPECTED[field])
    assert error.value is value
    assert str(error) == f"{field} = {value!r}: expected {EXPECTED[field]}."


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, all_ in ACCEPTED.items() for value in all_])
def test_a_value_of_the_declared_type_and_range_is_kept(field: str, value: Any) -> None:
    assert getattr(Every(**{field: value}), field) is value


def test_settings_tell_what_is_known_of_a_field() -> None:
    whole = settings(Every)["whole"]
    assert (whole.default, whole.meaning, whole.annotation) == (2, "A whole number.", int)
    assert {name: declared.expected for name, declared in settings(Every).items()} == EXPECTED


def test_lists_become_tuples_and_unknown_fields_are_refused() -> None:
    assert build(Every, {"wholes": [1, 2]}) == Every(wholes=(1, 2))
    with pytest.raises(SpecError, match="wholse = 3: expected one of the fields whole, number, "):
        build(Every, {"wholse": 3})


def test_an_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(SpecError("whole", 0, "more")))
    assert (error.field, error.value, error.expected) == ("whole", 0, "more")
    assert str(error) == "whole = 0: expected more."


@pytest.mark.parametrize("value", [2**63, -(2**70), 10**30])
def test_a_whole_number_beyond_64_bits_is_refused_as_such(value: int) -> None:
    with pytest.raises(SpecError, match=r"= -?\d+: expected a number of 64 bits"):
        Every(whole=value)
