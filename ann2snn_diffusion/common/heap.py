"""Memory that was freed: kept by the process while it computes, given back to the system between stages."""

from __future__ import annotations

import ctypes
import os

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""glibc's numbers of the parameters of its allocator."""
KEPT = {TRIM_THRESHOLD: 512 << 20, MMAP_THRESHOLD: 128 << 20}
"""Bytes that are kept at most, and of one piece: a larger one goes back at once."""


def keep_freed() -> None:
    """Have this process use freed memory anew, in huge pages; to be called before torch is imported.

    glibc gives pieces of 32 MiB and more back at once, and then every large activation is made anew, page by page.
    Elsewhere do nothing.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it at its first allocation
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, size in KEPT.items():
            mallopt(parameter, size)


def give_back() -> None:
    """Give freed memory back, which glibc else keeps in pieces that the next stage cannot use; elsewhere do nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
