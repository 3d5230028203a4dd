"""Models on disk that tests of commands share."""

from pathlib import Path

from diffusers import DDPMPipeline, DDPMScheduler

from ann2snn_diffusion.models.loading import Source
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.workflows.convert import convert_to_folder
from ann2snn_diffusion.workflows.result_folder import Writing
from tests.conftest import build_unet


def save_models(folder: Path) -> Path:
    """A converted model ``snn`` and its ANN ``ddpm`` in ``folder``, which is handed back."""
    unet, scheduler = build_unet(), DDPMScheduler()
    DDPMPipeline(unet, scheduler).save_pretrained(folder / "ddpm")  # pyright: ignore[reportArgumentType]
    source = Source(unet, scheduler, "ddpm")  # pyright: ignore[reportArgumentType]
    quick = CalibrationSpec(energy=0, states=28, positions=64, sampler_steps=3)
    convert_to_folder(source, folder / "snn", calibration=quick, writing=Writing(samples=0))
    return folder


def link_models(folder: Path, place: Path) -> None:
    """Links in ``place`` to the models that `save_models` put into ``folder``."""
    for name in ("ddpm", "snn"):
        (place / name).symlink_to(folder / name)
