"""One process at a time writes a result; the kernel ends a reservation with its process, however that dies."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ann2snn_diffusion.common.atomic_output import OutputError, beside, make_folder
from ann2snn_diffusion.common.errors import first_line


@contextmanager
def reserved(output: Path) -> Iterator[None]:
    """No other process reserves ``output`` inside the block; meanwhile ``.NAME.lock`` says who writes it.

    Raises:
        OutputError: another process does, or nothing can be written there.
    """
    file = beside(output, "lock")
    make_folder(file.parent)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
        file.write_text(f"process {os.getpid()} on {platform.node()}")
    except Timeout:
        holder = file.read_text() if file.exists() else "another process"
        raise OutputError(f"{output} is being written by {holder}; wait for it, or choose another `output`.") from None
    except OSError as error:
        _give_back(lock, file)
        raise OutputError(f"{output} cannot be written: {error.strerror or first_line(error)}.") from error
    try:
        yield
    finally:
        _give_back(lock, file)


def _give_back(lock: FileLock, file: Path) -> None:
    if lock.is_locked:
        file.unlink(missing_ok=True)
        lock.release()
