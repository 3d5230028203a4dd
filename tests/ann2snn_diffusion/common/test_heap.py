import os
import subprocess
import sys

import pytest

from ann2snn_diffusion.common.heap import give_back, keep_freed


def printed_by(program: str) -> int:
    """Run it in a process of its own, whose heap holds nothing else."""
    return int(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)


GIVE_BACK_PIECES = """
import psutil
import torch
from ann2snn_diffusion.common.heap import give_back
process = psutil.Process()
pieces = [torch.ones(2000) for _ in range(20_000)]  # 160 MB, none of them large enough to be mapped on its own
last = pieces[-1]  # it lies above the others, so that freeing them gives nothing back
del pieces
before = process.memory_info().rss
give_back()
print(before - process.memory_info().rss)
assert last[0] == 1
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_was_freed_in_pieces_is_given_back() -> None:
    assert printed_by(GIVE_BACK_PIECES) > 100e6


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
    made = [printed_by(COUNT_FAULTS.format(setting=setting)) for setting in ("", "keep_freed()")]
    assert made[1] < 10 < made[0]


def test_a_system_without_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    keep_freed()
    give_back()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"
