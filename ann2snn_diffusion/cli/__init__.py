"""Command line: parse, call, print. Heavy imports live inside commands."""

from __future__ import annotations

import sys

import typer

from ann2snn_diffusion.cli.command_from_specs import command
from ann2snn_diffusion.cli.convert import convert
from ann2snn_diffusion.cli.evaluate import evaluate
from ann2snn_diffusion.cli.finetune import finetune
from ann2snn_diffusion.cli.inspect import inspect
from ann2snn_diffusion.cli.sample import sample
from ann2snn_diffusion.cli.search_thresholds import search_thresholds
from ann2snn_diffusion.common.errors import A2SError, first_line

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


def main() -> None:
    """Run ``a2s``; errors that a user can mend are one line on stderr and exit code 1."""
    try:
        app()
    except A2SError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was written")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        sys.exit(
            f"error: torch and torchvision do not fit together ({first_line(error)}). "
            "Install both in one command: pip install --force-reinstall torch torchvision"
        )
