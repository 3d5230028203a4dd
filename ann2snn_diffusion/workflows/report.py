"""The use case: all that is known of a converted model on one page that opens anywhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from diffusers import UNet2DModel

from ann2snn_diffusion.common.atomic_output import REPORT_FILE, new_file, refuse_existing_file
from ann2snn_diffusion.common.digest import digest
from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.reservation import reserved
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.diffusion.denoising import Denoising, DenoisingSpec, follow
from ann2snn_diffusion.diffusion.sampling import SamplingError
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec
from ann2snn_diffusion.evaluation.figures import ANN, SNN
from ann2snn_diffusion.evaluation.noise_strata import low_noise_end
from ann2snn_diffusion.evaluation.records import (
    RecordedEvaluation,
    RecordedFidelity,
    read_evaluation,
    recorded_fidelity,
)
from ann2snn_diffusion.models.folders import read_json
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.reporting.page.html import html_of
from ann2snn_diffusion.reporting.page.report import Report, SiteSettings
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.workflows.inspect import inspect
from ann2snn_diffusion.workflows.result_folder import Writing, sample_grids

SUFFIXES = (".html", ".htm")
LOG = logging.getLogger(__name__)


class ReportError(A2SError):
    """A report that would mix two networks."""


def report(
    converted: Converted,
    evaluation: RecordedEvaluation | None = None,
    *,
    fidelity: FidelitySpec | None = None,
    seed: int = 0,
    track: Track = silent,
) -> Report:
    """Gather all that is known of a converted model: counted and drawn anew, and what its folder tells.

    Args:
        evaluation: of this network; None: its images have not been measured.
        fidelity: how many states spikes are counted on; its sampler steps are also those of the images.
        seed: of these states and of the images.
        track: told of every stage and step.

    Raises:
        ReportError: ``evaluation`` is of another network.
        RecordError: conversion_report.json holds something else than fidelity in its place.
        ConditionError: see `require_condition`.
    """
    unet, fidelity = converted.unet, fidelity or FidelitySpec()
    _refuse_another(unet, evaluation)
    recorded = _recorded_fidelity(converted.folder)
    networks: dict[str, UNet2DModel] = {} if unet.folded else {ANN: unet.ann()}
    networks[SNN] = unet
    writing = Writing(sample_steps=fidelity.sampler_steps)
    return Report(
        name=converted.name if converted.folder is None else converted.folder.resolve().name,
        ann=converted.name,
        revision=converted.revision,
        spec=unet.spec,
        folded=unet.folded,
        provenance=converted.provenance,
        sites=_site_settings(unet),
        costs=inspect(
            unet, converted.scheduler, fidelity=fidelity, seed=seed, track=track, condition=converted.condition
        ),
        fidelity=recorded,
        low_noise_end=low_noise_end(converted.scheduler),
        evaluation=evaluation,
        samples=sample_grids(networks, converted, writing, seed, track),
        denoising=_denoising(networks, converted, fidelity.sampler_steps, seed, track),
    )


def report_to_file(
    converted: Converted,
    output: Path,
    *,
    evaluation: Path | None = None,
    fidelity: FidelitySpec | None = None,
    seed: int = 0,
    force: bool = False,
    track: Track = silent,
) -> Report:
    """`report` a converted model, and write it as one HTML page that needs nothing else.

    Args:
        output: a name that ends in .html.
        evaluation: folder of an evaluation of this network; None: there is none.
        force: replace the file if it exists.

    Raises:
        OutputError: the file exists already, or cannot be written.
        SpecError: its name has another ending.
        RecordError: ``evaluation`` is no such folder.
        ReportError: it is of another network.
    """
    refuse_report_file(output, force)
    measured = None if evaluation is None else read_evaluation(evaluation)
    with reserved(output):
        found = report(converted, measured, fidelity=fidelity, seed=seed, track=track)
        with new_file(output) as partial:
            partial.write_text(html_of(found), "utf-8")
    return found


def refuse_report_file(output: Path, force: bool) -> None:
    """Check the file of a report before any work is done.

    Raises:
        OutputError, SpecError: see `report_to_file`.
    """
    require(output.suffix.lower() in SUFFIXES, "output", output, f"a name that ends in {' or '.join(SUFFIXES)}")
    refuse_existing_file(output, force)


def _refuse_another(unet: SpikingUNet2DModel, evaluation: RecordedEvaluation | None) -> None:
    measured = None if evaluation is None else evaluation.settings.get("snn_digest")  # not told at first
    if measured is not None and measured != digest(unet)[:16]:
        raise ReportError(
            "`evaluation` is of another network than this one: run a2s evaluate on this folder, or leave it out."
        )


def _recorded_fidelity(folder: Path | None) -> RecordedFidelity | None:
    file = None if folder is None else folder / REPORT_FILE
    return recorded_fidelity(read_json(file)) if file is not None and file.exists() else None


def _site_settings(unet: SpikingUNet2DModel) -> dict[str, SiteSettings]:
    return {
        name: SiteSettings(
            neuron.signed, neuron.doubled, (neuron.threshold.min().item(), neuron.threshold.max().item())
        )
        for name, neuron in unet.neurons().items()
    }


def _denoising(
    networks: Mapping[str, UNet2DModel], converted: Converted, steps: int, seed: int, track: Track
) -> dict[str, Denoising]:
    """Of each network; of none where one cannot draw."""
    spec = DenoisingSpec(steps, seed, converted.decoder, converted.condition)
    try:
        return {title: follow(one, converted.scheduler, spec, track, title) for title, one in networks.items()}
    except SamplingError as error:
        LOG.warning("no image is followed through its steps: %s", error)
        return {}
