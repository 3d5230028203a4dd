from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ann2snn_diffusion.common.shares import ALONE, Shares
from tests.two_processes import python


def share_of(index: int, count: int) -> Shares:
    return Shares(cast(Any, SimpleNamespace(process_index=index, num_processes=count)))


@given(st.integers(0, 500), st.integers(1, 9))
def test_shares_are_all_rows_once_and_alike_in_size(rows: int, processes: int) -> None:
    shares = [range(rows)[share_of(index, processes).own(rows)] for index in range(processes)]
    assert [row for share in shares for row in share] == list(range(rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_alone_has_all() -> None:
    rows = torch.randn(5, 2)
    assert ALONE.own(5) == slice(0, 5)
    assert ALONE.total(rows) is ALONE.joined(rows) is ALONE.of_main(rows) is rows


TOGETHER = """
import torch
from accelerate import PartialState
from ann2snn_diffusion.common.shares import Shares

process = PartialState(cpu=True)
shares, index = Shares(process), process.process_index
mine = torch.arange(3 - index) + 10.0 * index
assert mine.tolist() == ([0, 1, 2], [10, 11])[index]
assert shares.total(mine.sum()) == 24
assert shares.joined(mine).tolist() == [0, 1, 2, 10, 11, 10]
assert shares.of_main(index) == 0
process.destroy_process_group()
"""


@pytest.mark.slow
def test_processes_find_the_same_together() -> None:
    python("-c", TOGETHER, processes=2)  # fails where one of them does
