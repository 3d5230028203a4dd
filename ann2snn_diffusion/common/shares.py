"""Rows of one batch, shared out among several processes, and what all of these find in them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather, reduce
from torch import Tensor

Value = TypeVar("Value")


@dataclass(frozen=True)
class Shares:
    """Processes that have a share each; by default a single one, which has all.

    All of them call the same methods in the same order: each waits for the others.
    """

    process: PartialState | None = None

    @property
    def processes(self) -> int:
        """How many there are."""
        return 1 if self.process is None else self.process.num_processes

    def own(self, rows: int) -> slice:
        """This process's share of so many rows."""
        index = 0 if self.process is None else self.process.process_index
        return slice(index * rows // self.processes, (index + 1) * rows // self.processes)

    def total(self, value: Tensor) -> Tensor:
        """The sum of every process's ``value``."""
        return value if self.processes == 1 else torch.as_tensor(reduce(value, "sum"))

    def joined(self, rows: Tensor) -> Tensor:
        """The rows [N, …] of all processes, one after the other; where one has fewer, some of them come again."""
        if self.processes == 1:
            return rows
        longest = int(torch.as_tensor(gather(torch.tensor([len(rows)], device=rows.device))).max())
        return torch.as_tensor(gather(rows[torch.arange(longest, device=rows.device) % len(rows)].contiguous()))

    def of_main(self, value: Value) -> Value:
        """What the main process has for ``value``."""
        if self.processes == 1:
            return value
        found = [value]
        broadcast_object_list(found)
        return found[0]


ALONE = Shares()
