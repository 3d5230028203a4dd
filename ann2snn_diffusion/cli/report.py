"""a2s report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ann2snn_diffusion.cli.shared_options import Condition, Device, ForceFiles, Quiet, Rules


def report(
    folder: Annotated[Path, typer.Argument(help="Folder that a2s convert wrote.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page: .html.  [default: ./NAME-report.html]")
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(help="Folder that a2s evaluate wrote of this model: FID and its company.  [default: left out]"),
    ] = None,
    condition: Condition = None,
    rules: Rules = None,
    device: Device = "auto",
    quiet: Quiet = False,
    force: ForceFiles = False,
) -> None:
    """Write all that is known of a converted model as one HTML page, which opens in any browser, offline."""
    from ann2snn_diffusion.cli.converted_model import converted_model
    from ann2snn_diffusion.cli.device import usable_device
    from ann2snn_diffusion.reporting.costs_table import costs_line
    from ann2snn_diffusion.reporting.terminal import console, following, tell
    from ann2snn_diffusion.workflows.report import refuse_report_file, report_to_file

    page = output or Path(f"{folder.resolve().name}-report.html")
    refuse_report_file(page, force)
    device = usable_device(device, quiet)
    converted = converted_model(folder, rules, condition, device)
    with following(quiet) as track:
        found = report_to_file(converted, page, evaluation=evaluation, force=force, track=track)
    out = console(quiet)
    tell(out, costs_line(found.costs))
    tell(out, f"{page}: {page.stat().st_size / 1e6:.2g} MB, open it in a browser")
