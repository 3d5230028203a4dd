"""The use case: what a network may cost against what it is worth, a converted model at each of several energies.

Every network is written when it is found, into a folder beside the result: a front that was stopped goes on from there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ann2snn_diffusion.common.atomic_output import (
    FRONT_FILE,
    OutputError,
    make_folder,
    new_folder,
    occupied,
    refuse_existing,
    work_beside,
)
from ann2snn_diffusion.common.digest import digest, digest_of
from ann2snn_diffusion.common.progress import Track, part_of, silent
from ann2snn_diffusion.common.reservation import reserved
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.common.versions import version_of
from ann2snn_diffusion.diffusion.sampling import network_settings, scheduler_settings
from ann2snn_diffusion.evaluation.fidelity import fidelity_on, fidelity_states
from ann2snn_diffusion.models.loading import Source, load_converted
from ann2snn_diffusion.models.provenance import LIBRARIES
from ann2snn_diffusion.reporting.front_plot import ERRORS, plot_front
from ann2snn_diffusion.reporting.image_grids import save_grids
from ann2snn_diffusion.reporting.picture import picture
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SourceError, SpikingUNet2DModel
from ann2snn_diffusion.workflows.conversion_settings import Settings
from ann2snn_diffusion.workflows.convert import (
    Conversion,
    as_written,
    finite,
    recorded,
    refuse_images,
    uncalibrated,
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
    measured: Mapping[str, float]
    """As `FidelityReport.figures` names them."""

    def figures(self) -> dict[str, float]:
        """JSON-ready."""
        return {"energy": self.energy, **self.measured}


def networks_folder(output: Path) -> Path:
    """Where networks are kept while ``output`` is in the making."""
    return work_beside(output, "networks")


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
        source, images, writing, track: as of `convert_to_folder`.
        output: the folder; networks go to `networks_folder` (output) until all are there.
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
        for energy in {f"{energy:g}": energy for energy in sorted(energies)}.values()
    ]
    refuse_existing(output, writing.force, source.folder, FRONT_FILE)
    with reserved(output):
        working = networks_folder(output)
        make_folder(working)
        try:
            places = _places(working, source, each, images, writing)
            _convert(source, places, images, writing, track)
            with new_folder(output, writing.force, source.folder, FRONT_FILE) as folder:
                points = _gathered(source, folder, places, writing, settings.calibration.seed, track)
            for place in places:
                shutil.rmtree(place, ignore_errors=True)
        finally:
            with suppress(OSError):
                working.rmdir()  # unless networks are kept in it
    return points


def _places(
    working: Path, source: Source, settings: Sequence[Settings], images: Tensor | None, writing: Writing
) -> dict[Path, Settings]:
    """Where the network of each of the settings belongs, named by a hash of all that it depends on."""
    begun_with = uncalibrated(source, settings[0].spec)
    shared: dict[str, Any] = {
        "scheduler": scheduler_settings(source.scheduler), "kind": type(source.scheduler).__name__,
        "settings_of_network": network_settings(begun_with), "source": (source.name, source.revision),
        "dtype": writing.dtype, "folded": writing.folded,
        "decoder": None if source.decoder is None else digest(source.decoder.network),
        "images": None if images is None else digest_of(images),
        "condition": None if source.condition is None else digest_of(source.condition),
        "versions": [version_of(name) for name in ("ann2snn-diffusion", *LIBRARIES)],
    }  # fmt: skip
    places = {}
    for one in settings:
        key = digest(begun_with, calibration=asdict(one.calibration), **shared)[:16]
        places[working / f"energy-{one.calibration.energy or 0:g}-{key}"] = one
    return places


def _convert(
    source: Source, places: Mapping[Path, Settings], images: Tensor | None, writing: Writing, track: Track
) -> None:
    """Make the networks that are not there yet.

    Raises:
        OutputError: one that is there is damaged.
    """
    missing = {place: one for place, one in places.items() if not occupied(place)}
    if not missing:
        return
    for place in places.keys() - missing.keys():
        _made(place, str(source.unet.device))
    settings = next(iter(places.values()))
    recording, seed = recorded(source, settings, images, track), settings.calibration.seed
    states = fidelity_states(recording.make(), source.scheduler, seed, track=track, condition=source.condition)
    for place, one in missing.items():
        energy = one.calibration.energy or 0
        stages = part_of(f"energy {energy:g}", track)
        unet = calibrated_to(energy, recording, one.calibration, stages)
        conversion = finite(Conversion(unet, fidelity_on(unet, source.scheduler, states, track=stages)))
        conversion = as_written(conversion, source, seed, writing, track)
        converted = with_history(conversion, source, one.calibration, images, writing)
        with new_folder(place) as folder:
            write_result(folder, converted, conversion.report, {}, writing.dtype)


def _gathered(
    source: Source, folder: Path, places: Mapping[Path, Settings], writing: Writing, seed: int, track: Track
) -> list[FrontPoint]:
    """All networks in ``folder``, described there."""
    grids, points = sample_grids({"ANN": source.unet}, source, writing, seed, track), []
    for place, one in places.items():
        unet, measured = _made(place, str(source.unet.device))
        energy = one.calibration.energy or 0
        grids |= sample_grids({f"SNN, energy {energy:g}": unet}, source, writing, seed, track)
        points.append(FrontPoint(energy, measured))
    content = {"source": source.name, "networks": [point.figures() for point in points]}
    (folder / FRONT_FILE).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    with picture(folder / "front.png") as file:
        plot_front(file, [point.figures() for point in points], source.name)
    if grids:
        with picture(folder / "samples.png") as file:
            save_grids(file, grids)
    for place, point in zip(places, points, strict=True):
        shutil.copytree(place, folder / f"energy-{point.energy:g}", copy_function=_link)
    return points


def _link(file: str, copy: str) -> None:
    """A second name for a file, or a copy where a disk has no such thing."""
    try:
        os.link(file, copy)
    except OSError:
        shutil.copy2(file, copy)


def _made(place: Path, device: str) -> tuple[SpikingUNet2DModel, Mapping[str, float]]:
    """A network that was made, maybe by an earlier run, and what was measured of it."""
    try:
        converted = load_converted(place, device)
        measured: Mapping[str, float] = converted.provenance[-1]["after"]
        missing = {*ERRORS, "energy_share"} - measured.keys()
    except (SourceError, IndexError, KeyError, AttributeError) as error:
        raise OutputError(f"{place} is damaged; delete it and run the same command again.") from error
    if missing:
        raise OutputError(f"{place} is damaged: {min(missing)} is not told; delete it and run the same command again.")
    return converted.unet, measured
