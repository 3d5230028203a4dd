"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Recipe = Annotated[str | None, typer.Option(help="TOML file or recipe name; flags override it.")]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:1, mps …; auto: cuda, mps or cpu, the first there is.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no results on the terminal; errors alone.")]
Debug = Annotated[bool, typer.Option("--debug", help="Where an error ends it: the traceback, and all warnings.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the result folder if it exists.")]
ForceFiles = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]
Rules = Annotated[
    Path | None, typer.Option(help="The rules that the model was converted with: a Python file, which is run.")
]
Condition = Annotated[
    Path | None,
    typer.Option(
        help="What lies beside noisy images, as of super-resolution or inpainting: a file .safetensors with one "
        "tensor, or .npy, [N, channels, height, width], used in turn."
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(min=0, help="Images of ANN and SNN in every grid; 0: no pictures. Default: 8, fewer if large."),
]
DataRoot = Annotated[Path, typer.Option(help="Where data sets lie, or are downloaded to.")]
FeaturesName = Annotated[
    str | None, typer.Option(help="inception or fashion-mnist.  [default: inception; fashion-mnist without --data]")
]
InceptionWeights = Annotated[
    Path | None, typer.Option(help="File of Inception's weights.  [default: torch.hub's cache]")
]
