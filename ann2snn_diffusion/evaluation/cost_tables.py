"""What one operation and one memory access cost: published constants by name, or a TOML file of one's own.

`horowitz-45nm` and `int8` are what the literature on SNNs counts with (Horowitz, ISSCC 2014, 45 nm). In `int8` a sum is
as narrow as a product, which no network can use: `int8-int32` adds 32 bits on both sides, as a membrane needs that
takes thousands of spikes. Accesses are Horowitz's caches, as Lemaire et al. (arXiv 2210.13107) use them.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from ann2snn_diffusion.common.errors import A2SError, first_line

KIB = 1024


class CostTableError(A2SError):
    """A table of costs that cannot be used."""


@dataclass(frozen=True)
class CostTable:
    """Energies in pJ."""

    name: str
    multiply_accumulate: float
    accumulate: float
    word_bytes: float
    """Of a weight or an activation."""
    membrane_bytes: float
    """Of a sum under way."""
    access_8_kib: float = 10
    """One word out of, or into, a memory of 8 KiB."""
    access_32_kib: float = 20
    access_1_mib: float = 100

    def access(self, size: float) -> float:
        """One access of a memory of ``size`` bytes: linear between the three that are known, constant beyond them."""
        known = [self.access_8_kib, self.access_32_kib, self.access_1_mib]
        return float(np.interp(size, [8 * KIB, 32 * KIB, 1024 * KIB], known))


TABLES = {
    table.name: table
    for table in (
        CostTable("horowitz-45nm", 4.6, 0.9, 4, 4),
        CostTable("int8", 0.23, 0.03, 1, 1),
        CostTable("int8-int32", 0.3, 0.1, 1, 4),
    )
}
DEFAULT, INT8, INT8_INT32 = TABLES["horowitz-45nm"], TABLES["int8"], TABLES["int8-int32"]
ENTRIES = tuple(field.name for field in fields(CostTable) if field.name != "name")


def cost_table(table: str) -> CostTable:
    """A table by name, or from a TOML file that has every entry of `CostTable`.

    Raises:
        CostTableError: neither; not TOML; an entry missing, unknown, or not a number from 0.
    """
    if table in TABLES:
        return TABLES[table]
    file = Path(table)
    if not file.is_file():
        raise CostTableError(f"{table}: no such table of costs or file; expected a TOML file or {', '.join(TABLES)}.")
    try:
        entries = tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise CostTableError(f"{file}: not readable as TOML: {first_line(error)}") from error
    for entry in ENTRIES:
        if entry not in entries:
            raise CostTableError(f"{file}: {entry} is missing; expected {', '.join(ENTRIES)}.")
    for entry, value in entries.items():
        if entry not in ENTRIES:
            raise CostTableError(f"{file}: unknown entry {entry!r}; expected {', '.join(ENTRIES)}.")
        if not _is_cost(value, entry):
            least = "above 0" if entry == "multiply_accumulate" else "from 0"
            raise CostTableError(f"{file}: {entry} = {value!r}: expected a number {least}.")
    return CostTable(file.stem, **entries)


def _is_cost(value: Any, entry: str) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf
    return number and (value > 0 or entry != "multiply_accumulate")
