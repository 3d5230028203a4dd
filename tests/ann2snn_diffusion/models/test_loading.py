import json
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from ann2snn_diffusion.models.folders import BUNDLED, BUNDLED_FOLDER
from ann2snn_diffusion.models.loading import SourceError, load_source


@pytest.fixture
def pipeline_folder(unet: UNet2DModel, tmp_path: Path) -> Path:
    DDPMPipeline(unet, DDPMScheduler(beta_schedule="squaredcos_cap_v2")).save_pretrained(tmp_path / "ddpm")  # pyright: ignore[reportArgumentType]
    return tmp_path / "ddpm"


def test_pipeline_and_unet_folders_load_the_same_network(unet: UNet2DModel, pipeline_folder: Path) -> None:
    for folder in (pipeline_folder, pipeline_folder / "unet"):
        source = load_source(str(folder))
        assert all(torch.equal(weight, source.unet.state_dict()[name]) for name, weight in unet.state_dict().items())
        assert source.scheduler.config["beta_schedule"] == "squaredcos_cap_v2"  # pyright: ignore[reportAttributeAccessIssue]
        assert "/" not in source.name


def test_a_flat_repository_loads(unet: UNet2DModel, tmp_path: Path) -> None:
    """google/ddpm-cifar10-32 keeps U-Net and scheduler in one folder."""
    unet.save_pretrained(tmp_path)
    DDIMScheduler(beta_end=0.03).save_pretrained(tmp_path)
    assert load_source(str(tmp_path)).scheduler.config["beta_end"] == 0.03  # pyright: ignore[reportAttributeAccessIssue]


def test_the_bundled_model_is_small_and_loads() -> None:
    weights = next(BUNDLED_FOLDER.glob("unet/*.safetensors"))
    assert weights.stat().st_size <= 6e6
    assert load_source(BUNDLED).unet.config["sample_size"] == 32


def change_config(folder: Path, **changes: object) -> None:
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def change_weights(folder: Path, name: str, value: float | None) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    if value is None:
        del weights[name]
    else:
        weights[name].fill_(value)
    save_file(weights, file)


@pytest.mark.parametrize("kind", ["UNet2DConditionModel", "DiTTransformer2DModel", "SpikingUNet2DModel", None])
def test_a_model_of_another_class_is_refused_by_name(pipeline_folder: Path, kind: str | None) -> None:
    change_config(pipeline_folder, _class_name=kind)
    with pytest.raises(SourceError, match=f"{kind!r}; only a UNet2DModel|is spiking already"):
        load_source(str(pipeline_folder))


def test_weights_that_are_not_finite_are_named(pipeline_folder: Path) -> None:
    change_weights(pipeline_folder, "conv_in.weight", float("nan"))
    with pytest.raises(SourceError, match=r"conv_in\.weight holds values that are not finite"):
        load_source(str(pipeline_folder))


def test_missing_weights_are_refused(pipeline_folder: Path) -> None:
    change_weights(pipeline_folder, "conv_in.weight", None)
    with pytest.raises(SourceError, match=r"conv_in\.weight"):
        load_source(str(pipeline_folder))


def test_a_missing_or_corrupt_file_is_refused(pipeline_folder: Path) -> None:
    file = pipeline_folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(SourceError, match="could not be loaded"):
        load_source(str(pipeline_folder))
    file.unlink()
    with pytest.raises(SourceError, match="could not be loaded"):
        load_source(str(pipeline_folder))


def test_a_config_that_is_not_json_is_refused(pipeline_folder: Path) -> None:
    (pipeline_folder / "unet" / "config.json").write_text("{")
    with pytest.raises(SourceError, match=r"config\.json: not readable as JSON"):
        load_source(str(pipeline_folder))


def test_a_scheduler_without_noise_levels_of_a_ddpm_is_refused(pipeline_folder: Path) -> None:
    (pipeline_folder / "scheduler" / "scheduler_config.json").write_text(
        '{"_class_name": "FlowMatchEulerDiscreteScheduler"}'
    )
    with pytest.raises(SourceError, match="FlowMatchEulerDiscreteScheduler: expected a scheduler with a β schedule"):
        load_source(str(pipeline_folder))


@pytest.mark.parametrize("name", ["no/such/folder/at/all", "..", "a b"])
def test_what_is_neither_folder_nor_hub_id_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        load_source(str(tmp_path / "x") if name == ".." else name)


def test_no_network_for_a_hub_id_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SourceError, match="google/ddpm-cifar10-32: no such folder, and the hub could not give it"):
        load_source("google/ddpm-cifar10-32")
