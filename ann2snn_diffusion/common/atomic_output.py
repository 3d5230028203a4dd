"""Result folders that are either complete or absent."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ann2snn_diffusion.common.errors import A2SError, first_line


class OutputError(A2SError):
    """The result cannot be written."""


def refuse_existing(folder: Path, force: bool) -> None:
    """Check an output folder before any work is done.

    Raises:
        OutputError: it exists and ``force`` is false, it is a file, or it has no name of its own.
    """
    if folder.name in ("", ".."):
        raise OutputError(f"{folder} cannot be replaced; name a folder within it.")
    if folder.exists() and not force:
        raise OutputError(f"{folder} exists already; choose another `output`, or set `force` to replace it.")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; expected a folder or nothing.")


def refuse_file(folder: Path) -> None:
    """Check a folder that results may be added to before any work is done.

    Raises:
        OutputError: it, or what would be a folder above it, is a file.
    """
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise OutputError(f"{place} is a file; expected a folder or nothing.")


def make_folder(folder: Path) -> None:
    """A folder that results may be added to, there already or not, and all that lie above it.

    Raises:
        OutputError: it cannot be created.
    """
    refuse_file(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be created: {error.strerror or error}.") from error


@contextmanager
def new_folder(folder: Path, force: bool = False) -> Iterator[Path]:
    """A temporary folder beside ``folder`` that takes its name when the block ends well, and vanishes otherwise.

    Raises:
        OutputError: see `refuse_existing`; or the disk is full.
    """
    refuse_existing(folder, force)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder} cannot be created: {error.strerror or error}.") from error
    try:
        yield partial
        partial.chmod(0o755)
        if folder.exists():
            replaced = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            folder.rename(replaced / "old")
            partial.rename(folder)
            shutil.rmtree(replaced)
        else:
            partial.rename(folder)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise OutputError(f"{folder} could not be written: {reason}; nothing was left behind.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_place(file: Path) -> None:
    """Check a file that is to be written before any work is done.

    Raises:
        OutputError: no such folder, or the name is a folder's.
    """
    if not file.parent.is_dir() or file.is_dir():
        raise OutputError(f"{file} cannot be written: expected a file name in a folder that exists.")


@contextmanager
def new_file(file: Path) -> Iterator[Path]:
    """A temporary file beside ``file``, of the same kind, that replaces it when the block ends well.

    Raises:
        OutputError: no such folder, or it cannot be written.
    """
    require_place(file)
    partial = file.with_name(f".{file.stem}.partial{file.suffix}")
    try:
        yield partial
        partial.replace(file)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise OutputError(f"{file} could not be written: {reason}.") from error
    finally:
        partial.unlink(missing_ok=True)
