"""The use case: what fires in a converted model, where, and what it costs beside its ANN."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ann2snn_diffusion.common.atomic_output import make_folder, new_file, refuse_existing_file, refuse_file
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.reservation import reserved
from ann2snn_diffusion.evaluation.cost_tables import DEFAULT, CostTable
from ann2snn_diffusion.evaluation.costs import Costs, costs_of
from ann2snn_diffusion.evaluation.costs_json import costs_to_dict
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec, measure_fidelity, own_states
from ann2snn_diffusion.evaluation.network_layout import layout_of
from ann2snn_diffusion.evaluation.noise_strata import strata_bounds
from ann2snn_diffusion.evaluation.spike_count import count_spikes
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.reporting.costs_plots import PLOTS, save_cost_plots
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel


def inspect(
    unet: SpikingUNet2DModel,
    scheduler: Any,
    *,
    fidelity: FidelitySpec | None = None,
    seed: int = 0,
    track: Track = silent,
    condition: Tensor | None = None,
) -> Costs:
    """Count what a converted network does in one forward pass, beside its ANN; ``unet`` itself is left as it is.

    Args:
        unet: as `convert` makes it.
        scheduler: what the ANN was trained with.
        fidelity: how many sampling states in each noise stratum are counted on: the ANN's own, or, of a folded
            network, which has none, the SNN's.
        seed: of these states.
        track: told of every stage and step.
        condition: what lies beside noisy images, [M, C', H, W], used in turn; None: the network takes none.

    Raises:
        ConditionError: see `require_condition`.
    """
    if unet.folded:
        return _without_ann(unet, scheduler, fidelity or FidelitySpec(), seed, track, condition)
    return measure_fidelity(unet, scheduler, seed, fidelity, track, condition=condition).costs


def _without_ann(
    unet: SpikingUNet2DModel, scheduler: Any, spec: FidelitySpec, seed: int, track: Track, condition: Tensor | None
) -> Costs:
    states = own_states(unet, scheduler, seed, spec, track, condition)
    layout = layout_of(unet, states.part(slice(1)))
    counts = count_spikes(unet, layout, states)
    bounds = strata_bounds(scheduler)
    return costs_of(layout, counts, None, states.diffusion_timesteps, bounds, spec.sampler_steps)


@dataclass(frozen=True)
class InspectionFiles:
    """Where counts, energies and pictures are written; None: nowhere."""

    json: Path | None = None
    """A file for all counts and energies; see `costs_to_dict`."""
    plots: Path | None = None
    """A folder for pictures, which may exist."""
    table: CostTable = DEFAULT
    """What an operation costs."""
    force: bool = False
    """Replace files that exist."""

    def refuse_existing(self) -> None:
        """Check all places before any work is done.

        Raises:
            OutputError: a file exists and may not be replaced, or nothing can be written there.
        """
        if self.plots is not None:
            refuse_file(self.plots)
            for plot in PLOTS if self.plots.exists() else ():
                refuse_existing_file(self.plots / plot, self.force)
        if self.json is not None:
            refuse_existing_file(self.json, self.force)


def inspect_to_files(
    converted: Converted,
    files: InspectionFiles,
    *,
    fidelity: FidelitySpec | None = None,
    seed: int = 0,
    track: Track = silent,
) -> Costs:
    """`inspect` a converted model, and write what was found to ``files``.

    Raises:
        OutputError: a file exists already, or cannot be written.
    """
    files.refuse_existing()
    with ExitStack() as held:
        for place in filter(None, (files.json, files.plots)):
            held.enter_context(reserved(place))
        costs = inspect(
            converted.unet, converted.scheduler, fidelity=fidelity, seed=seed, track=track,
            condition=converted.condition,
        )  # fmt: skip
        if files.json is not None:
            _write_costs(files.json, costs, files.table)
        if files.plots is not None:
            save_cost_plots(files.plots, costs, files.table, _title_of(converted))
    return costs


def inspect_to_folder(
    converted: Converted,
    output: Path,
    *,
    table: CostTable = DEFAULT,
    fidelity: FidelitySpec | None = None,
    seed: int = 0,
    force: bool = False,
    track: Track = silent,
) -> Costs:
    """`inspect` a converted model, and write ``costs.json`` and pictures.

    Args:
        output: a folder, which may exist.
        table: what an operation costs; see `cost_table`.
        force: replace files that exist.

    Raises:
        OutputError: the folder cannot be written, or holds such a file already.
    """
    make_folder(output)
    files = InspectionFiles(output / "costs.json", output, table, force)
    return inspect_to_files(converted, files, fidelity=fidelity, seed=seed, track=track)


def _write_costs(file: Path, costs: Costs, table: CostTable) -> None:
    with new_file(file) as partial:
        partial.write_text(json.dumps(costs_to_dict(costs, table), indent=1, ensure_ascii=False) + "\n", "utf-8")


def _title_of(converted: Converted) -> str:
    """What pictures are headed with."""
    spec = converted.unet.spec
    return f"{converted.name}, {spec.coding}, T = {spec.time_steps}"
