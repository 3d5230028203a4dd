"""What becomes of bad input: ``python -m benchmarks.faults --minutes 20``.

Every trial is one command of ``a2s`` in a process of its own, on a fresh copy of a tiny model, with one thing broken.
It ends well if the command refuses it in one line and leaves nothing behind, or writes what it writes without it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from rich.console import Console
from rich.table import Table

from ann2snn_diffusion import cli
from ann2snn_diffusion.models.loading import Source
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.workflows.convert import convert_to_folder
from ann2snn_diffusion.workflows.result_folder import Writing
from benchmarks.fault_kinds import KINDS, RESULTS, RESUME, Fault

SECONDS = 90
"""After which a command hangs."""
VERDICTS = ("refused", "same result", "other result", "unexpected", "hang", "several lines", "left something")


def prepare(folder: Path) -> None:
    """A tiny ANN ``ddpm``, its conversion ``snn``, and checkpoints of a training of that."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        attention_head_dim=8, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    ).eval()  # fmt: skip
    scheduler = DDPMScheduler()
    DDPMPipeline(unet, scheduler).save_pretrained(folder / "ddpm")  # pyright: ignore[reportArgumentType]
    convert_to_folder(
        Source(unet, scheduler, "ddpm"), folder / "snn", spec=SpikeSpec(time_steps=2, segments=(0, 500)),  # pyright: ignore[reportArgumentType]
        calibration=CalibrationSpec(states=14, positions=64, sampler_steps=2), writing=Writing(samples=0),
    )  # fmt: skip
    arguments = RESUME.partition(" --resume")[0].replace("result", "out").split(" ")
    if run(folder, arguments)[0] != 0:
        raise RuntimeError("the training without a fault failed")
    shutil.rmtree(folder / "out")


def run(folder: Path, arguments: Sequence[str], seconds: float = SECONDS) -> tuple[int | None, str]:
    """Exit code of ``a2s`` in a process of its own, None if it was killed after ``seconds``; and its stderr."""
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        child = os.fork()
        if child == 0:
            _become(folder, arguments, said.fileno())
        deadline, ended, status = time.monotonic() + seconds, 0, 0
        while not ended and time.monotonic() < deadline:
            time.sleep(0.005)
            ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status) if ended else None, said.read()


def _become(folder: Path, arguments: Sequence[str], said: int) -> None:
    """Be ``a2s``, and never come back."""
    code = -1
    try:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(said, 2)
        sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
        sys.argv = ["a2s", *arguments]
        cli.main()
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
        if isinstance(stopped.code, str):
            print(stopped.code, file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def trial(folder: Path, fault: Fault, expected: bytes) -> tuple[str, str]:
    """How a command ended, one of `VERDICTS`, and what it said."""
    before = listing(folder)
    code, said = run(folder, [*fault.command.replace(fault.without, "").split(), *fault.more])
    if code == 0:
        result = folder / RESULTS[fault.command]
        same = result.is_file() and result.read_bytes() == expected
        return "same result" if same else "other result", said
    if code is None:
        return "hang", said
    if code not in (1, 2):
        return "unexpected", said
    errors = [line for line in said.splitlines() if not line.startswith("device: ")]
    if code == 1 and len(errors) != 1:
        return "several lines", said
    left = {name for name in listing(folder) - before if "result-training" not in name}
    return ("left something", f"{said} {sorted(left)}") if left else ("refused", said)


def listing(folder: Path) -> set[str]:
    """All files and folders below ``folder``."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def main(
    minutes: Annotated[float, typer.Option(help="How long rounds of all kinds go on; one at the least.")] = 20,
    seed: Annotated[int, typer.Option(help="Of what is broken.")] = 0,
    without: Annotated[list[str], typer.Option(help="Kinds that are left out.")] = [],  # noqa: B006
    shown: Annotated[bool, typer.Option(help="Each trial that did not end well, with what it said.")] = True,
) -> None:
    """Break one thing after the other, and count how the commands ended, by kind."""
    chance, until = random.Random(seed), time.monotonic() + 60 * minutes
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        prepare(whole)
        expected = {}
        for command, result in RESULTS.items():
            shutil.copytree(whole, Path(place) / "unbroken")
            run(Path(place) / "unbroken", command.split())
            expected[command] = (Path(place) / "unbroken" / result).read_bytes()
            shutil.rmtree(Path(place) / "unbroken")
        while not counts or time.monotonic() < until:
            for kind, break_it in ((kind, KINDS[kind]) for kind in KINDS if kind not in without):
                folder = Path(place) / "broken"
                shutil.copytree(whole, folder)
                fault = break_it(chance, folder)
                verdict, said = trial(folder, fault, expected[fault.command])
                counts[kind][verdict] += 1
                if shown and verdict not in VERDICTS[:2]:
                    print(f"{verdict}: {fault.what}: {' | '.join(said.splitlines())[-300:]}", flush=True)
                shutil.rmtree(folder)
    rows = Table("kind", *VERDICTS)
    for kind, found in {**counts, "all": sum(counts.values(), Counter())}.items():
        rows.add_row(kind, *(str(found[verdict]) for verdict in VERDICTS))
    Console(width=160).print(rows)
    sys.exit(int(any(found[verdict] for found in counts.values() for verdict in VERDICTS[3:])))


if __name__ == "__main__":
    typer.run(main)
