"""Searches of a few settings."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import PartialState

from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.search.objectives import Objective
from ann2snn_diffusion.search.result import Search
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.workflows import search_thresholds as threshold_search
from ann2snn_diffusion.workflows.search_thresholds import search_thresholds

QUICK = SearchSpec(count=28, held_out=28, evaluations=8, bootstrap=20, sampler_steps=4)


def search(converted: Converted, working: Path, spec: SearchSpec = QUICK) -> Search:
    """A search whose journal lies in the folder ``working``."""
    working.mkdir(exist_ok=True)
    journal, process = working / "journal.jsonl", PartialState(cpu=True)
    return search_thresholds(converted.unet, converted.scheduler, spec=spec, journal=journal, process=process)


def factor_of(network: SpikingUNet2DModel) -> float:
    assert isinstance(network.guidance, dict) or network.guidance == 1
    return network.guidance["all"] if isinstance(network.guidance, dict) else 1.0


def mean(rows: torch.Tensor) -> float:
    return rows.mean().item()


def of_factor(rows: Callable[[float], torch.Tensor]) -> Callable[[SpikingUNet2DModel], torch.Tensor]:
    return lambda network: rows(factor_of(network))


def replace_objective(
    monkeypatch: pytest.MonkeyPatch, value: Callable[[float], float], drawn: list[float] | None = None
) -> None:
    """A search for the global factor g of ``value``(g), which has no chance in it."""

    def draw(network: SpikingUNet2DModel) -> torch.Tensor:
        factor = factor_of(network)
        if drawn is not None:
            drawn.append(factor)
        return torch.full((8,), value(factor), dtype=torch.float64)

    objective = Objective("planted", draw, mean)
    monkeypatch.setattr(threshold_search, "objective_of", lambda *_: objective)
