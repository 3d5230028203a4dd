"""The use case: what a network may cost against what it is worth, a converted model at each of several energies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ann2snn_diffusion.common.atomic_output import FRONT_FILE, new_folder
from ann2snn_diffusion.common.progress import Track, part_of, silent
from ann2snn_diffusion.common.reservation import reserved
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.evaluation.fidelity import fidelity_on, fidelity_states
from ann2snn_diffusion.evaluation.fidelity_report import FidelityReport
from ann2snn_diffusion.models.loading import Source
from ann2snn_diffusion.reporting.front_plot import plot_front
from ann2snn_diffusion.reporting.image_grids import save_grids
from ann2snn_diffusion.reporting.picture import picture
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.workflows.conversion_settings import Settings
from ann2snn_diffusion.workflows.convert import (
    Conversion,
    as_written,
    finite,
    recorded,
    refuse_images,
    with_history,
)
from ann2snn_diffusion.workflows.energy_budget import calibrated_to
from ann2snn_diffusion.workflows.fitness import refuse_unfit
from ann2snn_diffusion.workflows.result_folder import Writing, sample_grids, write_result


@dataclass(frozen=True)
class FrontPoint:
    """A network of the front."""

    energy: float
    """Share of the ANN's energy that was asked for."""
    report: FidelityReport

    def figures(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"energy": self.energy} | self.report.figures()


def front_to_folder(
    source: Source,
    output: Path,
    energies: Sequence[float],
    *,
    settings: Settings | None = None,
    images: Tensor | None = None,
    writing: Writing | None = None,
    track: Track = silent,
) -> list[FrontPoint]:
    """Convert an ANN at several energies, from one recording of states and one measurement of what spikes are worth.

    The folder has a converted model for each, ``energy-0.15`` and the like, ``front.json``, ``front.png`` and, where
    pictures are wanted, ``samples.png``.

    Args:
        source, output, images, writing, track: as of `convert_to_folder`.
        energies: shares of the ANN's energy.
        settings: all but the energy.

    Raises:
        OutputError, ConversionError, UnsupportedLayerError, SpecError: see `convert_to_folder`.
    """
    require(bool(energies), "front", energies, "energies such as 0.15,0.25,0.35")
    writing, settings = writing or Writing(), settings or Settings(SpikeSpec(), CalibrationSpec())
    refuse_unfit(source.unet, source.scheduler, source.condition)
    refuse_images(source, images)
    each = [
        Settings.of(settings.spec, replace(settings.calibration, energy=energy), source.unet, source.scheduler)
        for energy in sorted(energies)
    ]
    seed = settings.calibration.seed
    with reserved(output), new_folder(output, writing.force, source.folder, FRONT_FILE) as folder:
        grids, points = sample_grids({"ANN": source.unet}, source, writing, seed, track), []
        for one, conversion in _conversions(source, each, images, track):
            conversion = as_written(conversion, source, seed, writing, track)
            energy = one.calibration.energy or 0
            networks = {f"SNN, energy {energy:g}": conversion.unet}
            grids |= sample_grids(networks, source, writing, seed, track)
            place = folder / f"energy-{energy:g}"
            place.mkdir()
            converted = with_history(conversion, source, one.calibration, images, writing)
            write_result(place, converted, conversion.report, {}, writing.dtype)
            points.append(FrontPoint(energy, conversion.report))
        content = {"source": source.name, "networks": [point.figures() for point in points]}
        (folder / FRONT_FILE).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
        with picture(folder / "front.png") as file:
            plot_front(file, [point.figures() for point in points], source.name)
        if grids:
            with picture(folder / "samples.png") as file:
                save_grids(file, grids)
    return points


def _conversions(
    source: Source, settings: Sequence[Settings], images: Tensor | None, track: Track
) -> Iterator[tuple[Settings, Conversion]]:
    recording = recorded(source, settings[0], images, track)
    seed = settings[0].calibration.seed
    states = fidelity_states(recording.make(), source.scheduler, seed, track=track, condition=source.condition)
    for one in settings:
        energy = one.calibration.energy or 0
        stages = part_of(f"energy {energy:g}", track)
        unet = calibrated_to(energy, recording, one.calibration, stages)
        yield one, finite(Conversion(unet, fidelity_on(unet, source.scheduler, states, track=stages)))
