"""Results that are either complete or absent, whatever ends the process that writes them.

What is not complete yet, or no longer needed, lies beside a result under a name of its own: ``.NAME.part`` and
``.NAME.prev``. The next run to the same result clears away what a killed one left; `reserved` says that it is dead.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ann2snn_diffusion.common.errors import A2SError, first_line

FRONT_FILE = "front.json"
REPORT_FILE = "conversion_report.json"
"""In every result folder: what tells it from folders of others."""


class OutputError(A2SError):
    """The result cannot be written."""


def refuse_existing(folder: Path, force: bool, source: Path | None = None, marker: str = REPORT_FILE) -> None:
    """Check an output folder before any work is done.

    Args:
        force: it may be replaced, if it is empty or holds ``marker``.
        source: folder that the work reads; neither it, nor one around or inside it, is replaced.

    Raises:
        OutputError: it exists and may not be replaced, it is a file or a link, or it has no name of its own.
    """
    if folder.name in ("", ".."):
        raise OutputError(f"{folder} cannot be replaced; name a folder within it.")
    if not occupied(folder):
        return
    if not force:
        raise OutputError(f"{folder} exists already; choose another `output`, or set `force` to replace it.")
    if folder.is_symlink() or not folder.is_dir():
        raise OutputError(f"{folder} is a {'link' if folder.is_symlink() else 'file'}; expected a folder or nothing.")
    if source is not None:
        read, replaced = source.resolve(), folder.resolve()
        if read.is_relative_to(replaced) or replaced.is_relative_to(read):
            raise OutputError(f"{folder} is, holds, or lies in {source}, which is read; choose another `output`.")
    if not (folder / marker).exists() and any(folder.iterdir()):
        raise OutputError(f"{folder} has no {marker}, so it is no result of this package; choose another `output`.")


def occupied(place: Path) -> bool:
    """Whether there is anything at ``place``, a link to nowhere too.

    Raises:
        OutputError: no such place can be, as the name is too long or a file is above it.
    """
    try:
        place.lstat()
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        refuse_file(place)
        return False
    except (OSError, ValueError) as error:
        raise OutputError(f"{place} cannot be written: {_reason(error)}.") from error
    return True


def refuse_file(folder: Path) -> None:
    """Check a folder that results may be added to before any work is done.

    Raises:
        OutputError: it, or what would be a folder above it, is a file or a link to nowhere.
    """
    for place in (folder, *folder.parents):
        if place.is_symlink() and not place.exists():
            raise OutputError(f"{place} is a link to nowhere; expected a folder or nothing.")
        if place.exists() and not place.is_dir():
            raise OutputError(f"{place} is a file; expected a folder or nothing.")


def make_folder(folder: Path) -> None:
    """A folder that results may be added to, there already or not, and all that lie above it.

    Raises:
        OutputError: it cannot be created.
    """
    try:
        refuse_file(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"{folder} cannot be created: {_reason(error)}.") from error


@contextmanager
def new_folder(
    folder: Path, force: bool = False, source: Path | None = None, marker: str = REPORT_FILE
) -> Iterator[Path]:
    """A folder beside ``folder`` that takes its name when the block ends well, and vanishes otherwise.

    A folder that is replaced stays until then. Call it where ``folder`` is `reserved`.

    Raises:
        OutputError: see `refuse_existing`; or the disk is full.
    """
    partial, previous = beside(folder, "part"), beside(folder, "prev")
    try:
        if previous.exists():  # killed between the two renamings below, or before it was removed
            shutil.rmtree(previous) if folder.exists() else previous.rename(folder)
        refuse_existing(folder, force, source, marker)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be created: {_reason(error)}.") from error
    try:
        yield partial
        if folder.exists():
            folder.rename(previous)
        partial.rename(folder)
        shutil.rmtree(previous, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{folder} could not be written: {_reason(error)}; nothing was left behind.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_place(file: Path) -> None:
    """Check a file that is to be written before any work is done.

    Raises:
        OutputError: no such folder, or the name is a folder's.
    """
    if not file.name or not file.parent.is_dir() or (occupied(file) and file.is_dir()):
        raise OutputError(f"{file} cannot be written: expected a file name in a folder that exists.")


def refuse_existing_file(file: Path, force: bool) -> None:
    """Check a file that is to be written, and that may be somebody else's, before any work is done.

    Args:
        force: it may be replaced.

    Raises:
        OutputError: it exists and may not be replaced, or is no ordinary file; see `require_place`.
    """
    require_place(file)
    if occupied(file):
        if not force:
            raise OutputError(f"{file} exists already; choose another name, or set `force` to replace it.")
        if file.is_symlink() or not file.is_file():
            raise OutputError(f"{file} is {'a link' if file.is_symlink() else 'no file'}; expected a file or nothing.")


@contextmanager
def new_file(file: Path) -> Iterator[Path]:
    """A file beside ``file``, of the same kind, that replaces it when the block ends well, and vanishes otherwise.

    Whether it may be replaced, `refuse_existing_file` says.

    Raises:
        OutputError: no such folder, or it cannot be written.
    """
    require_place(file)
    partial = file.with_name(f".{file.stem}.part{file.suffix}")
    try:
        yield partial
        partial.replace(file)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{file} could not be written: {_reason(error)}.") from error
    finally:
        partial.unlink(missing_ok=True)


def beside(place: Path, role: str) -> Path:
    """The hidden name next to ``place`` for what belongs to it; all roles have names of one length.

    Raises:
        OutputError: it is the root of all folders, next to which there is nothing.
    """
    place = _with_name_of_its_own(place)
    return place.with_name(f".{place.name}.{role}")


def work_beside(output: Path, work: str) -> Path:
    """``OUTPUT-work``: the folder next to ``output`` that keeps unfinished work.

    Raises:
        OutputError: it is the root of all folders, next to which there is nothing.
    """
    output = _with_name_of_its_own(output)
    return output.with_name(f"{output.name}-{work}")


def _with_name_of_its_own(place: Path) -> Path:
    place = place if place.name not in ("", "..") else place.resolve()
    if not place.name:
        raise OutputError(f"{place} cannot be written; name a folder within it.")
    return place


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or first_line(error)
