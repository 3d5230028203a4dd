"""A picture is never worth a result: one that cannot be drawn is left out, and a line says so."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ann2snn_diffusion.common.atomic_output import new_file
from ann2snn_diffusion.common.errors import first_line

LOG = logging.getLogger(__name__)


@contextmanager
def picture(file: Path) -> Iterator[Path]:
    """`new_file` for a picture; where it cannot be drawn or written, a warning takes its place."""
    try:
        with new_file(file) as partial:
            yield partial
    except Exception as error:  # drawing raises whatever a plotting library raises
        LOG.warning("%s was left out: %s", file.name, first_line(error))
