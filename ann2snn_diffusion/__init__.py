"""Pretrained diffusers DDPMs become spiking U-Nets at 4 time steps.

Importing this package makes `SpikingUNet2DModel` known to diffusers pipelines. Names are loaded on first use, so that
``a2s --help`` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ann2snn_diffusion.models.loading import load_source
    from ann2snn_diffusion.spiking.calibrate import CalibrationSpec
    from ann2snn_diffusion.spiking.neuron import analog
    from ann2snn_diffusion.spiking.rules import Site, spiking_synapse, to_spiking
    from ann2snn_diffusion.spiking.spec import SpikeSpec
    from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
    from ann2snn_diffusion.workflows.convert import Conversion, convert

__all__ = [
    "CalibrationSpec",
    "Conversion",
    "Site",
    "SpikeSpec",
    "SpikingUNet2DModel",
    "analog",
    "convert",
    "load_source",
    "spiking_synapse",
    "to_spiking",
]
HOMES = {
    "ann2snn_diffusion.spiking.calibrate": ("CalibrationSpec",),
    "ann2snn_diffusion.workflows.convert": ("Conversion", "convert"),
    "ann2snn_diffusion.spiking.neuron": ("analog",),
    "ann2snn_diffusion.spiking.rules": ("Site", "spiking_synapse", "to_spiking"),
    "ann2snn_diffusion.models.loading": ("load_source",),
    "ann2snn_diffusion.spiking.spec": ("SpikeSpec",),
    "ann2snn_diffusion.spiking.unet": ("SpikingUNet2DModel",),
    # A pipeline loads a class of another package only where that package names the base class that it knows.
    "diffusers": ("ModelMixin",),
}


def __getattr__(name: str) -> Any:
    for module, names in HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
