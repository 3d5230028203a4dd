"""Whatever stands in a model's JSON files: it loads to what it says, or is refused by name in one line."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings

from ann2snn_diffusion.models.loading import Source, load_converted, load_source
from ann2snn_diffusion.models.provenance import provenance_in
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.workflows.fitness import refuse_unfit
from tests.ann2snn_diffusion.cli.saved_models import save_models
from tests.conftest import build_unet
from tests.mutations import VALUES, changes, loaded, same


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted model ``snn`` and its ANN ``ddpm``."""
    return save_models(tmp_path_factory.mktemp("models"))


@contextmanager
def changed(file: Path, key: str, value: Any, inside: str | None = None) -> Iterator[None]:
    """``file`` with another value of a field, or of a field of an object in it, inside the block."""
    text = file.read_text()
    content = json.loads(text)
    (content if inside is None else content[inside])[key] = value
    file.write_text(json.dumps(content))
    try:
        yield
    finally:
        file.write_text(text)


def names(line: str, key: str) -> bool:
    """Where a field changes the network's shapes, its weights are named instead."""
    return (key in line or "in the weights: " in line) and "\n" not in line


UNET = [name for name in build_unet().config if not name.startswith("_")]


@given(change=changes(UNET))
def test_a_unet_of_any_config_is_what_it_says_and_runs(models: Path, change: tuple[str, Any]) -> None:
    key, value = change

    def load() -> Source:
        source = load_source(str(models / "ddpm"))
        refuse_unfit(source.unet, source.scheduler)
        return source

    with changed(models / "ddpm" / "unet" / "config.json", key, value):
        source, line = loaded(load)
    if line:
        assert names(line, key)
    else:
        assert key == "unheard_of" or same(source.unet.config[key], value)


@given(change=changes(list(SpikeSpec().to_dict())))
def test_a_spiking_config_is_what_it_says(models: Path, change: tuple[str, Any]) -> None:
    key, value = change
    file = models / "snn" / "unet" / "config.json"
    before = json.loads(file.read_text())["spiking"]
    with changed(file, key, value, "spiking"):
        found, line = loaded(lambda: load_converted(models / "snn").unet.spec.to_dict())
    if line:
        assert names(line, key)
    elif key != "version":
        assert same(found[key], value)
        assert {**found, key: 0} == {**before, key: 0}


@given(value=VALUES)
def test_what_stands_where_the_spiking_config_belongs_is_refused(models: Path, value: Any) -> None:
    with changed(models / "snn" / "unet" / "config.json", "spiking", value):
        _, line = loaded(lambda: load_converted(models / "snn"))
    assert line
    assert "\n" not in line


@given(change=changes([name for name in DDPMScheduler().config if not name.startswith("_")]))
def test_a_scheduler_of_any_config_is_what_it_says(models: Path, change: tuple[str, Any]) -> None:
    key, value = change
    with changed(models / "ddpm" / "scheduler" / "scheduler_config.json", key, value):
        source, line = loaded(lambda: load_source(str(models / "ddpm")))
    if line:
        assert key in line
        assert "\n" not in line
    else:
        assert key == "unheard_of" or same(source.scheduler.config[key], value)


@pytest.mark.parametrize(("file", "keys"), [
    ("model_index.json", ("_class_name", "unet")),
    ("conversion_report.json", ("source", "provenance", "spiking")),
])  # fmt: skip
@settings(max_examples=10)
@given(value=VALUES)
def test_what_stands_beside_a_model_does_not_change_it(
    models: Path, file: str, keys: tuple[str, ...], value: Any
) -> None:
    expected = load_converted(models / "snn")
    for key in keys:
        with changed(models / "snn" / file, key, value):
            found, line = loaded(lambda: load_converted(models / "snn"))
        if line:
            assert key in line
            continue
        weights = found.unet.state_dict()
        assert all(torch.equal(weights[name], weight) for name, weight in expected.unet.state_dict().items())
        assert found.unet.spec == expected.unet.spec


@given(value=VALUES)
def test_provenance_is_a_list_of_what_commands_did_or_refused(value: Any) -> None:
    entry = {"command": "convert", "settings": {}}
    for wrong in (value, [entry, value]):
        found, line = loaded(lambda wrong=wrong: provenance_in({"provenance": wrong}))
        assert line.startswith("provenance = ") or (wrong == [] and found == ())
