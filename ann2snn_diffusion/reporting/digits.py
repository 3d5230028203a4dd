"""How small numbers are printed."""

from __future__ import annotations

import math


def significant(value: float, digits: int = 2) -> str:
    """A number with so many significant digits, never with an exponent: 0.000046."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"
