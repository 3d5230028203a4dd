"""Command line: parse, call, print. Heavy imports live inside commands."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ann2snn_diffusion.cli.command_from_specs import command
from ann2snn_diffusion.cli.convert import convert
from ann2snn_diffusion.cli.evaluate import evaluate
from ann2snn_diffusion.cli.export import export
from ann2snn_diffusion.cli.finetune import finetune
from ann2snn_diffusion.cli.frame import framed
from ann2snn_diffusion.cli.inspect import inspect
from ann2snn_diffusion.cli.report import report
from ann2snn_diffusion.cli.sample import sample
from ann2snn_diffusion.cli.search_thresholds import search_thresholds
from ann2snn_diffusion.common.versions import version_of

app = typer.Typer(
    name="a2s",
    help="Pretrained diffusers DDPMs become spiking U-Nets at 4 time steps.",
    no_args_is_help=True,
    rich_markup_mode="markdown",  # rich's own takes "[default: 4]" for a style, and drops it
    pretty_exceptions_enable=False,
)
app.command()(command(convert))
app.command()(command(finetune))
app.command()(command(search_thresholds))
app.command()(command(sample))
app.command()(command(evaluate))
app.command()(command(inspect))
app.command()(command(report))
app.command()(command(export))


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=lambda wanted: _show_version(wanted), help="Version.")
    ] = False,
) -> None:
    """Pretrained diffusers DDPMs become spiking U-Nets at 4 time steps."""
    del version


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ann2snn-diffusion {version_of('ann2snn-diffusion')}")
        raise typer.Exit


def main() -> None:
    """Run ``a2s``; errors that a user can mend are one line on stderr and exit code 1."""
    with framed("--debug" in sys.argv, "--quiet" in sys.argv):
        app()
