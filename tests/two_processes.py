"""Programs that several processes run together, as torchrun starts them."""

import os
import subprocess
import sys

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
"""As many threads everywhere: the last bits of a convolution depend on their number."""


def a2s(*arguments: str, processes: int = 1) -> str:
    """What the command prints that is run in so many processes."""
    return python("-m", "ann2snn_diffusion.cli", *arguments, processes=processes)


def python(*arguments: str, processes: int = 1) -> str:
    """What Python prints, on stderr too, in so many processes, of which none fails."""
    # On CPUs, accelerate launch starts one process, whatever it is asked for.
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--no-python", sys.executable]
    program = [sys.executable, *(launch if processes > 1 else []), *arguments]
    finished = subprocess.run(
        program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=ENVIRONMENT
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout
