"""Content hashes: what was computed before is found again by what it was computed from."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn


def digest(network: nn.Module, **settings: Any) -> str:
    """Hexadecimal hash of a network's tensors, their names, and JSON-ready settings."""
    found = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(network.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
