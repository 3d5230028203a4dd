import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("command", [["faults", "--minutes", "0"], ["kills", "--kills", "6"]])
def test_bad_input_and_kills_end_in_one_line_and_cost_nothing(command: list[str]) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{command[0]}", *command[1:]],
        check=False, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
