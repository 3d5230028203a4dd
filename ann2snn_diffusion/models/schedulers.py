"""The scheduler that a U-Net was trained with: saved beside it, in a pipeline above it, or named; never guessed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDIMScheduler, DDPMScheduler, SchedulerMixin
from diffusers.utils.import_utils import DummyObject
from torch import Tensor

from ann2snn_diffusion.common.errors import first_line
from ann2snn_diffusion.diffusion.noise_schedule import ScheduleError, has_betas, noise_schedule
from ann2snn_diffusion.models.folders import find_folder, read_json
from ann2snn_diffusion.spiking.unet import SourceError

CONFIG = "scheduler_config.json"
PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
ABOVE_ZERO = ("clip_sample_range", "dynamic_thresholding_ratio", "sample_max_value")
DDPM = "ddpm"


def find_scheduler(folder: Path, named: str | None = None) -> tuple[SchedulerMixin, str, Path]:
    """The scheduler of a U-Net in ``folder``, and whose it is: a bare name, empty where it lies in ``folder`` itself.

    Also returns the pipeline's folder that the U-Net lies in, which is ``folder`` where it lies in no other.

    Args:
        named: a folder or hub id that has one, or ``ddpm``: DDPM's defaults. By default the one in ``folder``, or of
            the nearest pipeline that ``folder`` lies in.

    Raises:
        SourceError: there is none; it is unreadable, unknown, or of a kind that this package does not know.
    """
    if named == DDPM:
        return DDPMScheduler(), "DDPM's defaults", folder  # pyright: ignore[reportReturnType]
    if named is not None:
        place, name, _ = find_folder(named)
        return load_scheduler(place), name, folder
    for place in (folder, *folder.resolve().parents):
        if _holds_scheduler(place):
            return load_scheduler(place), "" if place == folder else place.name, place
    raise SourceError(
        f"{folder}: no {CONFIG} in it, nor in a pipeline that it lies in; say what it was trained with by `scheduler`: "
        f"a folder or hub id that has one, or {DDPM} for DDPM's defaults."
    )


def load_scheduler(folder: Path) -> SchedulerMixin:
    """The scheduler in ``folder``, or in ``folder``/scheduler.

    Raises:
        SourceError: there is none; it is unreadable, unknown, or of a kind that this package does not know.
    """
    place = next((one for one in (folder / "scheduler", folder) if (one / CONFIG).exists()), None)
    if place is None:
        raise SourceError(f"{folder}: no scheduler/{CONFIG}; save there the scheduler that the ANN was trained with.")
    file = place / CONFIG
    config = read_json(file)
    kind = _class_of(file, config)
    _refuse_wrong_types(file, kind, config)
    if config.get("predict_epsilon") is False:  # how x_0 was written before there were prediction types
        config = {"prediction_type": "sample"} | config
    try:
        scheduler = kind.from_config(config)
        schedule = noise_schedule(scheduler)
        if has_betas(scheduler):
            _try(scheduler)
    except ScheduleError as error:
        raise SourceError(f"{file}: {error}") from error
    except Exception as error:
        raise SourceError(
            f"{file}: not a {kind.__name__} that works: {first_line(error)} It has {_unusual(kind, config)}."
        ) from error
    if has_betas(scheduler):
        _refuse_wrong_levels(file, schedule.signal, scheduler, _unusual(kind, config))
    else:
        _refuse_wrong_sigmas(file, schedule.noise, scheduler, _unusual(kind, config))
    return scheduler


def _class_of(file: Path, config: Mapping[str, Any]) -> Any:
    name = str(config.get("_class_name"))
    kind = getattr(diffusers, name, None)
    fake = isinstance(kind, DummyObject)  # of a package that is not installed
    if not isinstance(kind, type) or fake or not issubclass(kind, SchedulerMixin) or kind is SchedulerMixin:
        raise SourceError(f"{file}: _class_name = {name!r} is no scheduler that diffusers has here.")
    return kind


def _holds_scheduler(folder: Path) -> bool:
    return any((place / CONFIG).exists() for place in (folder, folder / "scheduler"))


def _refuse_wrong_types(file: Path, kind: type, config: Mapping[str, Any]) -> None:
    """Hold a config against the types of the scheduler's defaults, which diffusers does not."""
    for name, parameter in inspect.signature(kind).parameters.items():
        value, wanted = config.get(name), type(parameter.default)
        if value is None or wanted not in (bool, int, float, str):
            continue
        fits = isinstance(value, int | float if wanted is float else wanted)
        if not fits or (isinstance(value, bool) and wanted is not bool):
            raise SourceError(f"{file}: {name} = {value!r}: expected a value of type {wanted.__name__}.")
        if name in ABOVE_ZERO and float(value) <= 0:
            raise SourceError(f"{file}: {name} = {value!r}: expected a number above 0.")
    betas = config.get("trained_betas")
    if betas is not None and not (isinstance(betas, list) and all(isinstance(beta, float) for beta in betas)):
        raise SourceError(f"{file}: trained_betas = {betas!r}: expected a list of numbers, or null.")
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in PREDICTION_TYPES:
        raise SourceError(f"{file}: prediction_type = {prediction!r}: expected one of {', '.join(PREDICTION_TYPES)}.")


def _try(scheduler: Any) -> None:
    """Let DDIM at its noise levels go one step: some values are looked at no earlier."""
    state = torch.zeros(1, 1, 2, 2)
    ddim: Any = DDIMScheduler.from_config(scheduler.config)
    ddim.set_timesteps(1)
    ddim.step(state, ddim.timesteps[0], state)


def _unusual(kind: type, config: Mapping[str, Any]) -> str:
    """The fields in which a config differs from the scheduler's defaults, one of which must be why it fails."""
    parameters = inspect.signature(kind).parameters
    differing = [name for name, value in config.items() if name in parameters and value != parameters[name].default]
    return ", ".join(f"{name} = {config[name]!r:.40}" for name in differing) or "all defaults"


def _refuse_wrong_levels(file: Path, levels: Tensor, scheduler: Any, unusual: str) -> None:
    count = scheduler.config["num_train_timesteps"]
    if levels.ndim != 1 or len(levels) != count:
        raise SourceError(f"{file}: num_train_timesteps = {count}, but {levels.numel()} β: expected as many.")
    betas = scheduler.betas
    within = torch.isfinite(levels).all() and levels.max() < 1 and betas.min() >= 0 and betas.max() <= 1
    if not within:
        raise SourceError(
            f"{file}: its ᾱ do not fall from below 1 towards 0; expected β in (0, 1), and it has {unusual}."
        )


def _refuse_wrong_sigmas(file: Path, noise: Tensor, scheduler: Any, unusual: str) -> None:
    rising = len(noise) and noise[0] > 0 and (noise.diff() > 0).all() and noise.isfinite().all()
    if not rising or scheduler.config.get("sigma_data", 1) <= 0:
        expected = "0 < sigma_min < sigma_max, num_train_timesteps and sigma_data above 0"
        raise SourceError(f"{file}: its σ do not rise from above 0; expected {expected}, and it has {unusual}.")
