import os
import subprocess
import sys

import psutil
import pytest
import torch

from ann2snn_diffusion.common.heap import give_back, keep_freed


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


COUNT_FAULTS = """
import resource
from ann2snn_diffusion.common.heap import give_back, keep_freed
{setting}
import torch
for _ in range(20):
    activations = torch.ones(16 << 20)  # 64 MiB
    del activations
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    activations = torch.ones(16 << 20)
    del activations
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_was_freed_is_used_anew_instead_of_made_anew() -> None:
    made = [
        int(
            subprocess.run(
                [sys.executable, "-c", COUNT_FAULTS.format(setting=setting)], capture_output=True, check=True
            ).stdout
        )
        for setting in ("", "keep_freed()")
    ]
    assert made[1] < 10 < made[0]


def test_a_system_without_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    keep_freed()
    give_back()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"
