"""Figures that commands wrote into a folder, read back: of conversion_report.json and of evaluation.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ann2snn_diffusion.common.errors import A2SError, first_line
from ann2snn_diffusion.evaluation.fidelity import ImageDistance
from ann2snn_diffusion.evaluation.figures import ANN, SNN, Distribution
from ann2snn_diffusion.evaluation.image_quality import Quality
from ann2snn_diffusion.evaluation.noise_strata import NoiseStratum
from ann2snn_diffusion.models.folders import read_json

EVALUATION_FILE = "evaluation.json"
WRONG = (AttributeError, KeyError, TypeError, ValueError)
"""What reading a file raises that holds something else than was written there."""
FIGURES_OF_SITES = ("error", "correlation", "saturation")


class RecordError(A2SError):
    """A file of figures that holds something else."""


@dataclass(frozen=True)
class RecordedFidelity:
    """What `FidelityReport.to_dict` wrote, as far as it was known then."""

    epsilon_error: float
    epsilon_error_within: float | None
    epsilon_error_low_noise: float
    strata: tuple[NoiseStratum, ...]
    """Empty in a report from before there were any."""
    sites: Mapping[str, Mapping[str, float]]
    """By site, those of ``error``, ``correlation`` and ``saturation`` that were measured."""


@dataclass(frozen=True)
class RecordedEvaluation:
    """What `Evaluation.to_dict` wrote, without its fidelity."""

    settings: Mapping[str, Any]
    """As written; ``count``, ``scheduler``, ``steps`` and ``seed`` are there, and ``real`` where a distribution is."""
    images: ImageDistance
    distribution: Distribution | None


def recorded_fidelity(report: Mapping[str, Any]) -> RecordedFidelity | None:
    """The fidelity in a ``conversion_report.json``; None where it has none.

    Raises:
        RecordError: it has something else in its place.
    """
    if "epsilon_error" not in report:
        return None
    within = report.get("epsilon_error_within")
    try:
        return RecordedFidelity(
            epsilon_error=float(report["epsilon_error"]),
            epsilon_error_within=None if within is None else float(within),
            epsilon_error_low_noise=float(report["epsilon_error_low_noise"]),
            strata=tuple(_stratum(one) for one in report.get("strata", ())),
            sites={
                one["name"]: {name: float(one[name]) for name in FIGURES_OF_SITES if name in one}
                for one in report.get("sites", ())
            },
        )
    except WRONG as error:
        raise RecordError(f"conversion_report.json holds no fidelity as it is written there: {_reason(error)}; "
                          "remove it, and the report does without.") from error  # fmt: skip


def read_evaluation(folder: Path) -> RecordedEvaluation:
    """The figures in the folder of an evaluation.

    Raises:
        RecordError: there is no evaluation.json, or it holds something else.
        SourceError: it is no JSON.
    """
    file = folder / EVALUATION_FILE
    if not file.is_file():
        raise RecordError(f"{folder}: no {EVALUATION_FILE}; expected a folder that a2s evaluate wrote.")
    content = read_json(file)
    try:
        settings, images, found = content["settings"], content["images"], content["distribution"]
        _require_settings(settings, ("count", "steps", "seed"), ("scheduler",))
        if found is not None:
            _require_settings(settings["real"], ("reference_count",), ("features", "reference"))
        return RecordedEvaluation(
            settings,
            ImageDistance(float(images["psnr"]), float(images["ssim"])),
            None if found is None else _distribution(found),
        )
    except WRONG as error:
        raise RecordError(
            f"{file} is not as a2s evaluate writes it: {_reason(error)}; run a2s evaluate again."
        ) from error


def _stratum(found: Mapping[str, Any]) -> NoiseStratum:
    return NoiseStratum(
        int(found["start"]), int(found["stop"]), float(found["epsilon_error"]), float(found["power"])
    )  # fmt: skip


def _distribution(found: Mapping[str, Any]) -> Distribution:
    low, high = found["fid_difference_interval"]
    floor, around = found.get("floor"), found.get("floor_interval")
    return Distribution(
        quality={title: _quality(found["quality"][title]) for title in (ANN, SNN)},
        fid_difference=float(found["fid_difference"]),
        fid_difference_interval=(float(low), float(high)),
        floor=None if floor is None else float(floor),
        floor_interval=None if around is None else (float(around[0]), float(around[1])),
    )


def _quality(found: Mapping[str, Any]) -> Quality:
    low, high = found["fid_interval"]
    figures = {name: float(value) for name, value in found.items() if name != "fid_interval"}
    return Quality(fid_interval=(float(low), float(high)), **figures)


def _require_settings(settings: Mapping[str, Any], numbers: tuple[str, ...], words: tuple[str, ...]) -> None:
    for names, kind in ((numbers, int), (words, str)):
        for name in names:
            if not isinstance(settings[name], kind):
                raise TypeError(f"{name} = {settings[name]!r:.40}")


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else first_line(error)
