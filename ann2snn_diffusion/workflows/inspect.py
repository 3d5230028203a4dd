"""The use case: what fires in a converted model, where, and what it costs beside its ANN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ann2snn_diffusion.common.atomic_output import make_folder, new_file
from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.reservation import reserved
from ann2snn_diffusion.evaluation.cost_tables import DEFAULT, CostTable
from ann2snn_diffusion.evaluation.costs import Costs
from ann2snn_diffusion.evaluation.costs_json import costs_to_dict
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec, measure_fidelity
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.reporting.costs_plots import save_cost_plots
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel


def inspect(
    unet: SpikingUNet2DModel,
    scheduler: Any,
    *,
    fidelity: FidelitySpec | None = None,
    seed: int = 0,
    track: Track = silent,
) -> Costs:
    """Count what a converted network does in one forward pass, beside its ANN; ``unet`` itself is left as it is.

    Args:
        unet: as `convert` makes it.
        scheduler: what the ANN was trained with.
        fidelity: how many sampling states of the ANN in each noise stratum are counted on.
        seed: of these states.
        track: told of every stage and step.
    """
    return measure_fidelity(unet, scheduler, seed, fidelity, track).costs


def inspect_to_folder(
    converted: Converted,
    output: Path,
    *,
    table: CostTable = DEFAULT,
    fidelity: FidelitySpec | None = None,
    seed: int = 0,
    track: Track = silent,
) -> Costs:
    """`inspect` a converted model, and write ``costs.json`` and pictures.

    Args:
        output: a folder, which may exist.
        table: what an operation costs; see `cost_table`.

    Raises:
        OutputError: the folder cannot be written.
    """
    with reserved(output):
        make_folder(output)
        costs = inspect(converted.unet, converted.scheduler, fidelity=fidelity, seed=seed, track=track)
        write_costs(output / "costs.json", costs, table)
        save_cost_plots(output, costs, table, title_of(converted))
    return costs


def write_costs(file: Path, costs: Costs, table: CostTable) -> None:
    """Costs as JSON, see `costs_to_dict`.

    Raises:
        OutputError: it cannot be written.
    """
    with new_file(file) as partial:
        partial.write_text(json.dumps(costs_to_dict(costs, table), indent=1, ensure_ascii=False) + "\n", "utf-8")


def title_of(converted: Converted) -> str:
    """What pictures are headed with."""
    spec = converted.unet.spec
    return f"{converted.name}, {spec.coding}, T = {spec.time_steps}"
