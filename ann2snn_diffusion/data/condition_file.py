"""Files of conditions: what lies beside noisy images, as numbers, in a safetensors file or NumPy's .npy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ann2snn_diffusion.common.errors import A2SError, first_line


class ConditionFileError(A2SError):
    """A file that holds no conditions."""


def read_conditions(file: Path) -> Tensor:
    """The one tensor of a file; floating-point numbers as float32. No code in it is run.

    Raises:
        ConditionFileError: no such file, of another format, damaged, or with more tensors than one.
    """
    if not file.is_file():
        raise ConditionFileError(f"{file}: no such file of conditions.")
    if file.suffix not in (".safetensors", ".npy"):
        raise ConditionFileError(f"{file}: expected a name that ends in .safetensors or .npy.")
    try:
        found = load_file(file) if file.suffix == ".safetensors" else {"": _array(file)}
    except (OSError, EOFError, ValueError, TypeError, SafetensorError) as error:
        raise ConditionFileError(f"{file}: not readable as {file.suffix}: {first_line(error)}") from error
    if len(found) != 1:
        names = ", ".join(sorted(found)) or "none"
        raise ConditionFileError(f"{file}: expected one tensor, got {len(found)}: {names:.80}.")
    (conditions,) = found.values()
    return conditions.float() if conditions.is_floating_point() else conditions


def _array(file: Path) -> Tensor:
    array = np.load(file, allow_pickle=False)
    return torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))))
