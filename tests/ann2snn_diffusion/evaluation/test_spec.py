from typing import Any

import pytest

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.evaluation.spec import EvaluationSpec


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": -1}, "count = -1: expected a whole number from 0"),
        ({"steps": 0}, "steps = 0"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"bootstrap": 1}, "bootstrap = 1"),
        ({"seed": -1}, "seed = -1"),
        ({"scheduler": 5}, "scheduler = 5: expected a name such as ddim"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        EvaluationSpec(**changes)


def test_a_count_of_zero_is_what_fits_the_real_images() -> None:
    spec = EvaluationSpec()
    assert spec.drawn(bundled=True, data=False) == 2000
    assert spec.drawn(bundled=False, data=True) == 10_000
    assert spec.drawn(bundled=False, data=False) == 64
    assert EvaluationSpec(count=5).drawn(bundled=True, data=False) == 5
