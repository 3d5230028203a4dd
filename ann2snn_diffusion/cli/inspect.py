"""a2s inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ann2snn_diffusion.cli.shared_options import Condition, Device, ForceFiles, Quiet, Rules


def inspect(
    folder: Annotated[Path, typer.Argument(help="Folder that a2s convert wrote.")],
    costs: Annotated[
        str, typer.Option(help="What an operation costs: horowitz-45nm, int8, int8-int32, or a TOML file.")
    ] = "horowitz-45nm",
    json: Annotated[Path | None, typer.Option(help="File for all counts and energies.")] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for PNG plots: energy by layer, spikes by noise, raster, trains.")
    ] = None,
    condition: Condition = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="All layers, not the five that cost most.")] = False,
    rules: Rules = None,
    device: Device = "auto",
    quiet: Quiet = False,
    force: ForceFiles = False,
) -> None:
    """Count what fires in a converted model, where, and what it costs beside its ANN."""
    from ann2snn_diffusion.cli.converted_model import converted_model
    from ann2snn_diffusion.cli.device import usable_device
    from ann2snn_diffusion.evaluation.cost_tables import cost_table
    from ann2snn_diffusion.reporting.costs_table import print_costs
    from ann2snn_diffusion.reporting.terminal import console, following
    from ann2snn_diffusion.workflows.inspect import InspectionFiles, inspect_to_files

    files = InspectionFiles(json, plots, cost_table(costs), force)
    files.refuse_existing()
    device = usable_device(device, quiet)
    converted = converted_model(folder, rules, condition, device)
    with following(quiet) as track:
        found = inspect_to_files(converted, files, track=track)
    print_costs(console(quiet), found, files.table, verbose)
