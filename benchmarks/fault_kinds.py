"""Kinds of bad input: each breaks one thing in a folder of tiny models, and says which command is to meet it."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 0.5, 1e30, 2**70, -(2**70), float("nan"), float("inf"), "", "x", "n" * 300, [], [0], [1, "x"],
    {}, {"x": 1}, "torch.nn.Linear",
)  # fmt: skip
"""Values that hardly any field can have."""
SAMPLE = "sample snn -n 1 --steps 2 -o result.png --device cpu"
CONVERT = "convert ddpm -o result --states 14 --time-steps 2 --samples 0 --device cpu"
RESUME = "finetune snn -o result --steps 2 --checkpointing-steps 1 --train-batch-size 2 --sampler-steps 2 --samples 0"
RESUME += " --device cpu --resume-from-checkpoint out-training/checkpoint-000001"
RESULTS = MappingProxyType({SAMPLE: "result.png", CONVERT: f"result/{WEIGHTS}", RESUME: f"result/{WEIGHTS}"})
"""What each of these commands writes."""


@dataclass(frozen=True)
class Fault:
    """What is broken, and the command that meets it."""

    what: str
    command: str
    """One of `RESULTS`, whose result it must write if it writes one."""
    more: tuple[str, ...] = ()
    """Arguments behind those of the command."""
    without: str = ""
    """Part of the command that is left out."""


def json_of(file: str, command: str, inside: str | None = None) -> Callable[[random.Random, Path], Fault]:
    """One field of a JSON file, or of an object within it, has a wrong value, is missing, or is one too many."""

    def break_it(chance: random.Random, folder: Path) -> Fault:
        content = json.loads((folder / file).read_text())
        place = content if inside is None else content[inside]
        field = chance.choice([*place, "unheard_of"])
        if chance.random() < 0.15 and field in place:
            del place[field]
            what = f"{file} {field} missing"
        else:
            place[field] = chance.choice(WRONG)
            what = f"{file} {field} = {place[field]!r:.40}"
        (folder / file).write_text(json.dumps(content))
        return Fault(what, command)

    return break_it


def bytes_of(file: str, command: str) -> Callable[[random.Random, Path], Fault]:
    """A file is empty, cut short, garbage, a folder, not there, or has a flipped bit in its first 200 bytes."""

    def break_it(chance: random.Random, folder: Path) -> Fault:
        path = folder / file
        content, how = bytearray(path.read_bytes()), chance.choice(["empty", "cut", "garbage", "folder", "gone", "bit"])
        path.unlink()
        if how == "folder":
            path.mkdir()
        elif how != "gone":
            content[chance.randrange(min(200, len(content)))] ^= 1 << chance.randrange(8)
            cut = content[: chance.randrange(len(content))]
            path.write_bytes({"empty": b"", "cut": cut, "garbage": chance.randbytes(99), "bit": content}[how])
        return Fault(f"{file} {how}", command)

    return break_it


def tensors_of(file: str, command: str) -> Callable[[random.Random, Path], Fault]:
    """A tensor of a safetensors file has another shape or type, is not finite, missing, or one too many."""

    def break_it(chance: random.Random, folder: Path) -> Fault:
        tensors = load_file(folder / file)
        name = chance.choice(sorted(tensors))
        found, how = tensors.pop(name), chance.choice(["shape", "integers", "nan", "missing", "renamed"])
        if how != "missing":
            changed = {"shape": torch.cat([found.flatten(), torch.zeros(1)]), "integers": torch.ones(found.shape).int(),
                       "nan": torch.full_like(found, torch.nan), "renamed": found}[how]  # fmt: skip
            tensors[f"{name}x" if how == "renamed" else name] = changed
        save_file(tensors, folder / file, {"format": "pt"})
        return Fault(f"{file} {name} {how}", command)

    return break_it


def option(chance: random.Random, folder: Path) -> Fault:
    """An option has a value that it cannot have."""
    flags = {
        SAMPLE: ("--count", "--steps", "--seed", "--batch-size", "--scheduler", "--rules", "--device"),
        CONVERT: ("--time-steps", "--coding", "--leak", "--segments", "--keep", "--states", "--positions", "--seed",
                  "--percentile", "--energy", "--recipe", "--images", "--rules", "--sampler-steps"),
        RESUME: ("--learning-rate", "--steps", "--train-batch-size", "--own-share", "--max-grad-norm", "--teacher",
                 "--data", "--learn", "--resume-from-checkpoint", "--mixed-precision"),
    }  # fmt: skip
    command = chance.choice(list(flags))
    flag = chance.choice(flags[command])
    value = chance.choice(["", "x", "-1", "0", "1e999", "nan", "1" * 30, str(10**12), "n" * 300, "../snn", os.devnull])
    return Fault(f"{flag} {value:.20}", command, (flag, value))


def output(chance: random.Random, folder: Path) -> Fault:
    """The output is a place where nothing can be written, or something is that must stay."""
    (folder / "nowhere").symlink_to(folder / "absent")
    (folder / "file").write_text("x")
    (folder / "thesis").mkdir()
    (folder / "thesis" / "thesis.tex").write_text("x")
    places = ["", ".", "..", "/", "n" * 300, "nowhere", "file", "file/out", "thesis", "snn", "ddpm", "snn/unet",
              "/proc/out", "a\0b"]  # fmt: skip
    command = chance.choice([SAMPLE, CONVERT, RESUME])
    place = chance.choice([*places[:5], "thesis", "absent/x.png", "/proc/x.png"] if command == SAMPLE else places)
    force = () if command == SAMPLE or chance.random() < 0.5 else ("--force",)
    return Fault(f"-o {place[:20]!r} {' '.join(force)}", command, ("-o", place, *force))


def recipe(chance: random.Random, folder: Path) -> Fault:
    """A key of a recipe has a wrong value, or its text is no TOML."""
    key = chance.choice(["time_steps", "coding", "segments", "guidance", "keep", "unheard_of"])
    value = chance.choice(
        ["-1", "0.5", '"x"', "[]", "{}", "nan", "1e999", "9" * 40, "[[1]]", "true", "", '"', "1979-05-27"]
    )
    whole = "" if key == "time_steps" else "time_steps = 2\n"
    (folder / "broken.toml").write_text(f"[spiking]\n{whole}{key} = {value}\n")
    return Fault(f"recipe {key} = {value:.20}", CONVERT, ("--recipe", "broken.toml"), "--time-steps 2")


def name_of_source(chance: random.Random, folder: Path) -> Fault:
    """The ANN's folder has a name that is no text, long, or full of what other languages mean something by."""
    names = [b"\xff\xfe", b"n" * 250, b"$\\frac$ {0} %s", "ε\n[red]".encode()]
    name = os.fsdecode(chance.choice(names))
    (folder / "ddpm").rename(folder / name)
    return Fault(f"source {name!r:.20}", CONVERT, (name,), "ddpm")


def images(chance: random.Random, folder: Path) -> Fault:
    """Calibration images cannot be read."""
    place = folder / "images"
    place.mkdir()
    name = chance.choice(["a.png", "a.jpg", "a.txt", "a.webp"])
    (place / name).write_bytes(chance.choice([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", chance.randbytes(99)]))
    return Fault(f"images/{name}", CONVERT, ("--images", "images"))


KINDS: Mapping[str, Callable[[random.Random, Path], Fault]] = MappingProxyType({
    "U-Net config of an ANN": json_of("ddpm/unet/config.json", CONVERT),
    "U-Net config of an SNN": json_of("snn/unet/config.json", SAMPLE),
    "spiking config": json_of("snn/unet/config.json", SAMPLE, "spiking"),
    "scheduler of an ANN": json_of("ddpm/scheduler/scheduler_config.json", CONVERT),
    "scheduler of an SNN": json_of("snn/scheduler/scheduler_config.json", SAMPLE),
    "report": json_of("snn/conversion_report.json", SAMPLE),
    "training.json": json_of("out-training/checkpoint-000001/training.json", RESUME),
    "bytes of weights": bytes_of(f"snn/{WEIGHTS}", SAMPLE),
    "bytes of a config": bytes_of("snn/unet/config.json", SAMPLE),
    "bytes of a checkpoint": bytes_of("out-training/checkpoint-000001/state.safetensors", RESUME),
    "tensors of an ANN": tensors_of(f"ddpm/{WEIGHTS}", CONVERT),
    "tensors of an SNN": tensors_of(f"snn/{WEIGHTS}", SAMPLE),
    "options": option,
    "outputs": output,
    "recipes": recipe,
    "images": images,
    "names": name_of_source,
})  # fmt: skip
"""By name."""
