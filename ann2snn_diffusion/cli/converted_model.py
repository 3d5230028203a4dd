"""The converted model that a command is about, as its options name it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ann2snn_diffusion.models.loading import Converted


def converted_model(folder: Path, rules: Path | None, condition: Path | None, device: str = "cpu") -> Converted:
    """A converted model with its conditions, loaded after the file that holds its rules.

    Raises:
        SourceError, ConditionError: see `load_converted` and `with_conditions`.
        UnsupportedLayerError: see `load_rules`.
    """
    from ann2snn_diffusion.models.loading import load_converted, with_conditions
    from ann2snn_diffusion.spiking.rules import load_rules

    if rules is not None:
        load_rules(rules)
    return with_conditions(load_converted(folder, device), condition)
