"""Versions of what is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def version_of(package: str) -> str:
    """The version of a package; "unknown" where it runs from a folder that was never installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
