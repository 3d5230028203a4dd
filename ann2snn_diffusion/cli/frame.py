"""The frame around every command: whatever ends it is one line on stderr, or with --debug all that there is to see."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ann2snn_diffusion.common.errors import A2SError, InterruptionError, first_line
from ann2snn_diffusion.common.heap import keep_freed

UNEXPECTED = 70
"""Exit code of what nobody foresaw; EX_SOFTWARE of sysexits.h. What a user can mend ends with 1."""
INTERRUPTED = 130
"""Exit code of what Ctrl-C ended, as of shells: 128 and the signal's number."""
OF_THE_MACHINE = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENAMETOOLONG, errno.ELOOP
)  # fmt: skip
OUT_OF_MEMORY = re.compile(r"out of memory|alloc\w* .*memory|not enough memory|Invalid buffer size", re.IGNORECASE)
BYTES = re.compile(r"(\d+) bytes")


@contextmanager
def framed(debug: bool, quiet: bool) -> Iterator[None]:
    """Turn every error into a line and an exit code; nothing but that line is said, unless ``debug``.

    With ``quiet`` our own warnings and the bars of downloads are left out too.
    """
    keep_freed()
    ours = logging.getLogger("ann2snn_diffusion")
    level = ours.level
    if quiet:  # before tqdm and huggingface_hub are imported
        ours.setLevel(logging.ERROR)
        os.environ |= {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    if not debug:  # before diffusers is imported, and after
        os.environ.setdefault("DIFFUSERS_VERBOSITY", "critical")
        os.environ.setdefault("TORCH_LOGS", "-all")  # what torch.compile warns of
        logging.getLogger("diffusers").setLevel(logging.CRITICAL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    hook = threading.excepthook
    with warnings.catch_warnings():
        if not debug:
            warnings.simplefilter("ignore")
            threading.excepthook = lambda _: None  # what ends a thread of TensorBoard's is raised in ours, too
        try:
            yield
        except Exception as error:
            if debug:
                traceback.print_exception(error)
            reason = in_one_line(error)
            if isinstance(error, InterruptionError):
                print(reason, file=sys.stderr)
                sys.exit(INTERRUPTED)
            if reason is not None:
                sys.exit(f"error: {reason}")
            print(
                f"error: unexpected {type(error).__name__}: {first_line(error)}; rerun with --debug for the traceback",
                file=sys.stderr,
            )
            sys.exit(UNEXPECTED)
        finally:
            ours.setLevel(level)
            threading.excepthook = hook


def in_one_line(error: Exception) -> str | None:
    """What a user can mend, in one line; None where nobody foresaw the error."""
    text = " ".join(str(error).split())
    if isinstance(error, A2SError):
        return text
    if "torchvision::nms" in text:
        return (
            f"torch and torchvision do not fit together ({first_line(error)}). "
            "Install both in one command: pip install --force-reinstall torch torchvision"
        )
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(text)):
        asked = BYTES.search(text)
        amount = f": {int(asked[1]) / 2**30:,.1f} GiB were asked for at once" if asked else ""
        return f"out of memory{amount}; ask for less at a time, such as a smaller batch or fewer states."
    if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
        return f"{error.filename or 'a file'} could not be read or written: {error.strerror}."
    if isinstance(error, ImportError):
        return f"a library is missing: {first_line(error)}"
    return None
