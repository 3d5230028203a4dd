"""The tables that a recipe may have: which commands use them, and the specs that they fill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from ann2snn_diffusion.common.specs import check, setting
from ann2snn_diffusion.evaluation.spec import EvaluationSpec
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.training.spec import TrainingSpec

CommandName = Literal["convert", "finetune", "search-thresholds", "evaluate"]


@dataclass(frozen=True)
class RunSpec:
    """What a recipe says for all commands.

    Raises:
        SpecError: a field out of range.
    """

    seed: int = setting(0, "Seed of everything random.", at_least=0, at_most=2**63 - 1)
    commands: tuple[CommandName, ...] = setting(
        (), "Commands that the recipe is for; a recipe with tables of several commands names them."
    )

    def __post_init__(self) -> None:
        check(self)


TABLES: Mapping[str, Mapping[str, type]] = MappingProxyType(
    {
        "convert": {"spiking": SpikeSpec, "calibration": CalibrationSpec},
        "finetune": {"training": TrainingSpec},
        "search-thresholds": {"search": SearchSpec},
        "evaluate": {"evaluation": EvaluationSpec},
    }
)
"""By command; every command uses [run] beside its own."""
STAGED = frozenset({"training"})
"""Tables of which a recipe may have several, as ``[[training]]``: stages, carried out one after the other."""


def stages_in(table: Any) -> list[Any]:
    """A table's stages, as a recipe has them: those of a list, or the table itself as the only one."""
    return table if isinstance(table, list) else [table]
