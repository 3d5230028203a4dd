"""The journal of a search: every trial as a line of JSON, so that a killed search is taken up where it stood.

Its first line says what the values depend on. Nothing else is kept of an optimizer: run anew, it asks for the same
points, and those in the journal cost nothing.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ann2snn_diffusion.common.atomic_output import OutputError, new_file
from ann2snn_diffusion.common.errors import A2SError, first_line


class JournalError(A2SError):
    """A journal that does not belong to this search."""


@dataclass(frozen=True)
class Trial:
    """One setting of the factors, and what it gave."""

    guidance: dict[str, float]
    """Factor by group."""
    value: float
    """The objective; NaN where it could not be had."""
    spikes: float
    """Per image and forward pass, all sites together."""
    seconds: float
    energy_share: float = math.nan
    """Energy of the synapses over the ANN's; NaN in journals of earlier versions, which did not count it."""

    @property
    def key(self) -> str:
        """Equal for equal factors."""
        return json.dumps(self.guidance, sort_keys=True)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready: null for NaN."""
        fields = dataclasses.asdict(self).items()
        return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in fields}


def open_journal(file: Path, identity: Mapping[str, Any]) -> list[Trial]:
    """What ``file`` holds; a new one begins with ``identity``, on which the values depend.

    A last line that a kill cut short is dropped. A journal without a trial belongs to any search.

    Raises:
        JournalError: of another model or objective, or no journal.
        OutputError: it cannot be written.
    """
    wanted = json.loads(json.dumps(identity))
    trials: list[Trial] = []
    if file.exists():
        try:
            first, *lines = file.read_text().split("\n")
            found = json.loads(first)
            trials = [_trial(line) for line in lines[:-1]]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise JournalError(f"{file}: not a journal of a search: {first_line(error)}; remove it.") from error
        if not isinstance(found, dict):
            raise JournalError(f"{file}: not a journal of a search: begins with {found!r}; remove it.")
        for field in sorted(wanted.keys() | found.keys()) if trials else ():
            if found.get(field) != wanted.get(field):
                raise JournalError(
                    f"{file}: {field} was {found.get(field)!r}, now {wanted.get(field)!r}; its values belong to "
                    "another search. Choose another `output`, or remove the file."
                )
    with new_file(file) as partial:
        partial.write_text("".join(json.dumps(line) + "\n" for line in [wanted, *(one.to_json() for one in trials)]))
    return trials


def append(file: Path, trial: Trial) -> Trial:
    """Add a line; hands ``trial`` back.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with file.open("a") as journal:
            journal.write(json.dumps(trial.to_json()) + "\n")
    except OSError as error:
        raise OutputError(f"{file} cannot be written: {error.strerror or error}.") from error
    return trial


def _trial(line: str) -> Trial:
    fields = json.loads(line)
    value, energy = (
        math.nan if found is None else float(found) for found in (fields["value"], fields.get("energy_share"))
    )
    return Trial(dict(fields["guidance"]), value, float(fields["spikes"]), float(fields["seconds"]), energy)
