import sys

import psutil
import pytest
import torch

from ann2snn_diffusion.common.heap import give_back


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_was_freed_in_pieces_is_given_back() -> None:
    process = psutil.Process()
    pieces = [torch.ones(2000) for _ in range(20_000)]  # 160 MB, none of them large enough to be mapped on its own
    del pieces[::2]
    last = pieces[-1]
    del pieces
    before = process.memory_info().rss
    give_back()
    assert process.memory_info().rss < before - 100e6
    assert last[0] == 1


def test_a_system_without_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())
    give_back()
