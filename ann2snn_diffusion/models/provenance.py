"""How a converted model came about: what every command did to it, in order, and nothing is ever lost.

``conversion_report.json`` holds a list of entries as ``provenance``. An entry has ``command``; ``settings``, all of
them resolved, the seed included; ``versions`` of libraries; and the figures that the command measured ``before`` and
``after``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ann2snn_diffusion.common.versions import version_of
from ann2snn_diffusion.spiking.unet import SourceError

Entry = Mapping[str, Any]
"""What one command did, JSON-ready."""
Provenance = tuple[Entry, ...]
LIBRARIES = ("torch", "diffusers", "numpy", "scipy")


def entry(
    command: str, settings: Mapping[str, Any], before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> Entry:
    """What a command did just now.

    Args:
        settings: JSON-ready.
        before, after: figures of the network by name; None where there was none, or it was not measured.
    """
    versions = {name: version_of(name) for name in ("ann2snn-diffusion", *LIBRARIES)}
    return {"command": command, "settings": dict(settings), "versions": versions, "before": before, "after": after}


def provenance_in(report: Mapping[str, Any]) -> Provenance:
    """What a ``conversion_report.json`` tells, also one that was written before there was such a list.

    Raises:
        SourceError: it holds something else.
    """
    if "provenance" in report:
        return _checked(report["provenance"])
    shared = {"versions": report.get("versions"), "before": report.get("before"), "after": None}
    settings = {name: report[name] for name in ("seed", "spiking", "calibration") if name in report}
    entries: list[Entry] = []
    if "calibration" in report:
        entries.append({"command": "convert", "settings": settings, **shared})
    if report.get("training"):
        entries.append({"command": "finetune", "settings": report["training"], **shared})
    return tuple(entries)


def _checked(entries: Any) -> Provenance:
    named = isinstance(entries, list) and all(
        isinstance(one, dict) and isinstance(one.get("command"), str) and isinstance(one.get("settings"), dict)
        for one in entries
    )
    if not named:
        raise SourceError(
            f"provenance = {entries!r:.60}: expected a list of what commands did, each with `command` and `settings`; "
            "remove conversion_report.json, and the model loads without it."
        )
    return tuple(entries)
