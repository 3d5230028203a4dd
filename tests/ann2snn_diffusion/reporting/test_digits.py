import math

import pytest

from ann2snn_diffusion.reporting.digits import significant


@pytest.mark.parametrize(
    ("value", "printed"),
    [(0.0000457, "0.000046"), (0.0081, "0.0081"), (0.3, "0.30"), (12.4, "12"), (0, "0"), (math.nan, "nan")],
)
def test_two_digits_are_kept_however_small_a_number_is(value: float, printed: str) -> None:
    assert significant(value) == printed
