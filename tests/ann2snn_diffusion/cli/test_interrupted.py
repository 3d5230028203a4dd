import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ann2snn_diffusion.common.reservation import reserved

# A process that a shell starts in the background ignores SIGINT, and its children with it.
A2S = """
import signal
from ann2snn_diffusion.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


pytestmark = pytest.mark.usefixtures("beside_models")


def interrupted(command: str, sign: str) -> tuple[int, str]:
    """Exit code and stderr of ``a2s``, stopped by Ctrl-C as soon as there is something that ``sign`` matches."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", A2S, *command.split(), "--device", "cpu"]
    with subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not list(Path().glob(sign)):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    return process.returncode, said


TRAIN = "finetune snn -o out --steps 100000 --train-batch-size 2 --sampler-steps 4 --samples 0 --checkpointing-steps "


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "sign", "line"),
    [
        ("convert ddpm -o out --states 100000 --samples 0", ".out.part", "nothing was written, the same command"),
        (
            "convert ddpm -o out --front 0.3,0.32,0.34,0.36,0.38,0.4 --samples 0",
            "out-networks/energy-*",
            "networks that were finished are kept in out-networks, the same command goes on",
        ),
        (
            f"{TRAIN} 1",
            "out-training/checkpoint-000002",
            r"out-training/checkpoint-\d{6} is kept, the same command with --resume-from-checkpoint latest goes on",
        ),
        (f"{TRAIN} 100000", "out-training/loss.jsonl", "there was no checkpoint yet, the same command starts anew"),
        ("evaluate snn -o out -n 10000 --batch-size 2 --steps 2", "out/images/*/*.safetensors", "images are kept in"),
        (
            "search-thresholds snn -o out --evaluations 9999 --samples 0",
            "out-search/journal.jsonl",
            "trials are kept in out-search, the same command goes on",
        ),
    ],
    ids=lambda text: text.partition(" ")[0],
)
def test_ctrl_c_is_one_line_that_says_what_is_kept_and_how_to_go_on(command: str, sign: str, line: str) -> None:
    code, said = interrupted(command, sign)
    assert code == 130
    assert said.startswith("interrupted; ")
    assert re.search(line, said)
    assert said.count("\n") == 1
    assert not [path for path in Path().iterdir() if path.name.startswith(".out")]
    with reserved(Path("out")):
        pass
