"""Evenly spaced levels: what each costs, and which of them stands for a value.

A value x is represented by  offset + scale · n.  Level n is the whole number nearest to the charge (x − offset) / scale
or, with a table, what that says of the quarter of a unit in which the charge lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

QUARTERS = 4
"""Of a unit, in each of which a table has one level."""


@dataclass(frozen=True)
class Levels:
    """Levels ``lowest`` … ``lowest`` + L − 1.

    Attributes:
        cost: what each level costs, [L].
        table: as `level_table` makes it; None: every charge becomes the nearest level.
    """

    lowest: int
    cost: Tensor
    table: Tensor | None = None

    @property
    def highest(self) -> int:
        """The highest level."""
        return self.lowest + len(self.cost) - 1

    @cached_property
    def silent(self) -> int:
        """The cheapest level, that nearest to 0 of several."""
        cheapest = (self.cost == self.cost.min()).nonzero()[:, 0] + self.lowest
        return int(cheapest[cheapest.abs().argmin()])

    @cached_property
    def reach(self) -> int:
        """Levels on the longer side of the silent one."""
        return max(self.highest - self.silent, self.silent - self.lowest)

    def of(self, charge: Tensor) -> Tensor:
        """The level of every charge, which is overwritten."""
        return level_of(charge, self.lowest, self.highest, self.table)

    def cost_of(self, level: Tensor) -> Tensor:
        """What every level costs."""
        return _look_up(self.cost, level - self.lowest)


def level_of(
    charge: Tensor, lowest: int, highest: int, table: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """The level, lowest … highest, of every charge, which is overwritten; NaN of NaN.

    Levels of a table go to ``out``, which may be a contiguous ``charge``.
    """
    if table is None:
        return charge.round_().clamp_(lowest, highest)
    quarter = widened(charge).mul_(QUARTERS).floor_().sub_(QUARTERS * lowest)  # in this order exact
    return _look_up(table, quarter.clamp_(0, len(table) - 2).nan_to_num_(len(table) - 1), out)


def widened(charge: Tensor) -> Tensor:
    """The charge in a type that holds the number of every quarter, which half precision does not."""
    return charge.float() if charge.dtype.itemsize < 4 else charge


def _look_up(table: Tensor, index: Tensor, out: Tensor | None = None) -> Tensor:
    # Indexing by brackets takes three times as long on a CPU.
    flat = None if out is None else out.view(-1)
    return torch.index_select(table, 0, index.int().flatten(), out=flat).view_as(index)


def quarters(lowest: int, highest: int) -> Tensor:
    """A charge amid every quarter of a unit from ``lowest`` to ``highest`` + 1."""
    return lowest + (torch.arange(QUARTERS * (highest + 1 - lowest)) + 0.5) / QUARTERS


def level_table(levels: Tensor) -> Tensor:
    """The table of the levels that the charges of `quarters` are to have; its last entry is for no number."""
    return torch.cat([levels, levels.new_tensor([torch.nan])])
