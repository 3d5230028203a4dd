"""What commands share: the resolved configuration and the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accelerate import PartialState

from ann2snn_diffusion.cli.recipe import read_recipe, section
from ann2snn_diffusion.common.specs import SpecError, build, is_number, require
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.spiking.calibrate import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.training.spec import TrainingSpec


@dataclass(frozen=True)
class Run:
    """A recipe with all flags applied."""

    seed: int
    spiking: SpikeSpec
    calibration: CalibrationSpec


def resolve(recipe: str | None, run: dict[str, Any], spiking: dict[str, Any], calibration: dict[str, Any]) -> Run:
    """Defaults, overridden by the recipe, overridden by flags that are not None.

    Raises:
        SpecError, RecipeError: an unknown or impossible value.
    """
    tables = read_recipe(recipe) if recipe else {}
    return Run(
        _seed(tables, run),
        build(SpikeSpec, section(tables, "spiking", spiking)),
        build(CalibrationSpec, section(tables, "calibration", calibration)),
    )


def resolve_training(recipe: str | None, seed: int | None, **flags: Any) -> TrainingSpec:
    """As `resolve`, for a training: tables [run] and [training].

    Raises:
        SpecError, RecipeError: an unknown or impossible value.
    """
    tables = read_recipe(recipe) if recipe else {}
    return build(TrainingSpec, _seeded(tables, "training", seed, flags))


def resolve_search(recipe: str | None, seed: int | None, **flags: Any) -> SearchSpec:
    """As `resolve`, for a threshold search: tables [run] and [search].

    Raises:
        SpecError, RecipeError: an unknown or impossible value.
    """
    tables = read_recipe(recipe) if recipe else {}
    return build(SearchSpec, _seeded(tables, "search", seed, flags))


def _seeded(tables: dict[str, Any], name: str, seed: int | None, flags: dict[str, Any]) -> dict[str, Any]:
    values = section(tables, name, flags)
    require("seed" not in values, f"recipe [{name}]", "seed", "it in the table [run]")
    return values | {"seed": _seed(tables, {"seed": seed})}


def _seed(tables: dict[str, Any], overrides: dict[str, Any]) -> int:
    general = section(tables, "run", overrides)
    for key in general:
        require(key == "seed", "recipe [run]", key, "only the key seed")
    seed = general.get("seed", 0)
    require(is_number(seed, 0, 2**63 - 1, whole=True), "seed", seed, "a whole number from 0")
    return seed


def parse_segments(text: str | None) -> list[int] | None:
    """``0,50,300`` as numbers.

    Raises:
        SpecError: something else.
    """
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        raise SpecError(
            f"segments = {text!r}: expected whole numbers with commas between them, such as 0,50,300."
        ) from None


def usable_device(device: str) -> None:
    """Check that a device exists here.

    Raises:
        SpecError: it does not.
    """
    import torch

    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError):
        raise SpecError(f"device = {device!r}: not usable here; try --device cpu.") from None


def start_process(device: str) -> tuple[PartialState, str]:
    """This process among those that were launched together, and its device: of several GPUs its own.

    Raises:
        SpecError: the device does not exist here.
    """
    process = PartialState(cpu=device == "cpu")
    if process.num_processes > 1 and device == "cuda":
        device = f"cuda:{process.local_process_index}"
    usable_device(device)
    return process, device
