"""a2s export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ann2snn_diffusion.cli.shared_options import Condition, ForceFiles, Quiet, Rules


def export(
    folder: Annotated[Path, typer.Argument(help="Folder that a2s convert wrote.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Program: .pt2, or .onnx.  [default: ./NAME.pt2, ./NAME.onnx]")
    ] = None,
    kind: Annotated[
        Literal["torch", "onnx"],
        typer.Option("--format", help="torch: a torch.export program. onnx: for onnxruntime; needs the extra onnx."),
    ] = "torch",
    spikes: Annotated[
        bool, typer.Option("--spikes", help="The program also gives every site's spike trains; docs/export.md.")
    ] = False,
    condition: Condition = None,
    rules: Rules = None,
    quiet: Quiet = False,
    force: ForceFiles = False,
) -> None:
    """Write a converted model as one file that torch or onnxruntime runs without this package, and check that."""
    from ann2snn_diffusion.cli.converted_model import converted_model
    from ann2snn_diffusion.common.atomic_output import refuse_existing_file
    from ann2snn_diffusion.models.program_file import SUFFIXES, require_format
    from ann2snn_diffusion.reporting.terminal import console, following, tell
    from ann2snn_diffusion.workflows.export import export_to_file

    file = output or Path(f"{folder.resolve().name}{SUFFIXES[kind]}")
    require_format(file, kind)
    refuse_existing_file(file, force)
    converted = converted_model(folder, rules, condition)
    with following(quiet) as track:
        agreement = export_to_file(converted, file, kind=kind, spikes=spikes, force=force, track=track)
    tell(console(quiet), f"{file}: gives what the network gives; {agreement.in_words()}")
