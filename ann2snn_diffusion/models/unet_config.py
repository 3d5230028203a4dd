"""A U-Net's config held against the types of UNet2DModel's own arguments, which diffusers does not do."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from diffusers import UNet2DModel

from ann2snn_diffusion.common.specs import Setting
from ann2snn_diffusion.spiking.unet import SourceError

LARGEST = 2**20
"""Number that an argument can have; with larger ones no machine can build the network."""
MAY_BE_ZERO = ("freq_shift", "downsample_padding", "norm_eps", "dropout")
OPEN = ("norm_num_groups",)
"""May be null, whatever their declared type: NCSN++ has it."""
TIME_EMBEDDINGS = ("positional", "fourier", "learned")


def refuse_wrong_types(file: Path, config: Mapping[str, Any]) -> None:
    """Refuse arguments that would fail in the first forward pass, or change what the weights mean unseen.

    Raises:
        SourceError: names the field.
    """
    kinds = get_type_hints(UNet2DModel.__init__)
    for name, parameter in inspect.signature(UNet2DModel.__init__).parameters.items():
        if name not in config or name not in kinds:
            continue
        given = config[name]
        if given is None and name in OPEN:
            continue
        value, kind = tuple(given) if isinstance(given, list) else given, kinds[name]
        above = None if name in MAY_BE_ZERO else 0
        least = "from 0" if above is None else "above 0"
        expected = f"{getattr(kind, '__name__', None) or kind}, {least} and at most {LARGEST} where it is a number"
        declared = Setting(name, kind, parameter.default, "", 0, above, LARGEST, expected)
        if value == () or (value != parameter.default and not declared.accepts(value)):
            raise SourceError(f"{file}: {name} = {given!r}: expected {expected}; of several at least one.")
    embedding = config.get("time_embedding_type", "positional")
    if embedding not in TIME_EMBEDDINGS:
        known = ", ".join(TIME_EMBEDDINGS)
        raise SourceError(f"{file}: time_embedding_type = {embedding!r}: expected one of {known}.")
