"""What kill −9 leaves: ``python -m benchmarks.kills --minutes 40``.

Every command is killed at a random moment, and run again. It must end as if it had never been killed: the same result,
to the bit, and no file more.
"""

from __future__ import annotations

import itertools
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.fault_kinds import CONVERT, RESUME, SAMPLE, WEIGHTS
from benchmarks.faults import listing, prepare, run

TRAIN = RESUME.partition(" --resume")[0]
QUICK = "--states-per-stratum 2 --steps 2 --device cpu"
COMMANDS = {
    CONVERT: f"result/{WEIGHTS}",
    f"{CONVERT} --front 0.3,0.5": f"result/energy-0.5/{WEIGHTS}",
    f"{TRAIN} --device cpu": f"result/{WEIGHTS}",
    SAMPLE: "result.png",
    f"evaluate snn -o result -n 8 --batch-size 2 {QUICK}": None,
    "search-thresholds snn -o result --count 14 --held-out 14 --evaluations 3 --bootstrap 4 --sampler-steps 3 "
    "--samples 0 --device cpu": f"result/{WEIGHTS}",
    "inspect snn --json result.json --plots result --device cpu": "result.json",
}
"""And the file that must come out the same; None: what is written holds the time that it took."""
COLUMNS = ("kills", "ended before", "same result", "lost", "left behind")


def trial(folder: Path, command: str, seconds: float) -> str:
    """Kill a command after so many seconds, and run it again: how it ended, without its result."""
    if run(folder, command.split(), seconds)[0] is not None:
        return "ended before"
    again, result = command.split(), COMMANDS[command]
    if result and (folder / result).exists():  # killed when it was written, and before the command ended
        again.append("--force")
    if command.startswith("finetune") and list(folder.glob("result-training/checkpoint-*")):
        again += ["--resume-from-checkpoint", "latest"]
    return "same result" if run(folder, again)[0] == 0 else "lost"


def title(command: str) -> str:
    """What a command is called in the table."""
    return "convert --front" if "--front" in command else command.split()[0]


def main(
    minutes: Annotated[float, typer.Option(help="How long; one kill of each command at the least.")] = 40,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Kill every command in turn, and count what it cost."""
    chance = random.Random(seed)
    torch.set_num_threads(1)
    counts: dict[str, dict[str, int]] = {command: {column: 0 for column in COLUMNS} for command in COMMANDS}  # noqa: C420
    with tempfile.TemporaryDirectory() as place:
        whole, folder = Path(place) / "whole", Path(place) / "killed"
        prepare(whole)
        unbroken: dict[str, tuple[float, bytes | None, set[str]]] = {}
        for command, result in [*COMMANDS.items(), *COMMANDS.items()]:  # the second time as warm as those to come
            shutil.copytree(whole, folder)
            started = time.monotonic()
            if run(folder, command.split())[0] != 0:
                raise RuntimeError(f"{command} failed without a kill")
            content = (folder / result).read_bytes() if result else None
            unbroken[command] = time.monotonic() - started, content, files(folder)
            shutil.rmtree(folder)
        until = time.monotonic() + 60 * minutes
        for index, command in enumerate(itertools.cycle(COMMANDS)):
            if index >= len(COMMANDS) and time.monotonic() > until:
                break
            seconds, content, expected = unbroken[command]
            shutil.copytree(whole, folder)
            verdict, result = trial(folder, command, chance.uniform(0, seconds)), COMMANDS[command]
            if verdict == "same result" and result and (folder / result).read_bytes() != content:
                verdict = "lost"
            counts[command]["kills"] += 1
            counts[command][verdict] += 1
            if extra := files(folder) - expected:
                counts[command]["left behind"] += 1
                print(f"{title(command)} left {sorted(extra)}", flush=True)
            shutil.rmtree(folder)
    rows = Table("command", *COLUMNS)
    for command, found in counts.items():
        rows.add_row(title(command), *map(str, found.values()))
    Console(width=160).print(rows)
    sys.exit(int(any(found["lost"] or found["left behind"] for found in counts.values())))


def files(folder: Path) -> set[str]:
    """All that there is, without logs, which are named by their time."""
    return {name for name in listing(folder) if "tensorboard" not in name}


if __name__ == "__main__":
    typer.run(main)
