import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("command", ["faults", "kills"])
def test_bad_input_and_kills_end_in_one_line_and_cost_nothing(command: str) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{command}", "--minutes", "0"],
        check=False, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
