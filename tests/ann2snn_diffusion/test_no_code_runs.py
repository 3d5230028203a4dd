"""Pickles that would run code lie where files are read; those in checkpoints are in test_checkpoint."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torchvision import datasets

from ann2snn_diffusion.data.datasets import PUBLISHED
from ann2snn_diffusion.evaluation.features import FeaturesError, load_features
from ann2snn_diffusion.models.loading import load_converted, load_scheduler, load_source
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SourceError, SpikingUNet2DModel


class Payload:
    """Makes the folder that A2S_PAYLOAD names when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["A2S_PAYLOAD"],)


@pytest.fixture
def payload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setenv("A2S_PAYLOAD", str(tmp_path / "ran"))
    monkeypatch.chdir(tmp_path)
    return pickle.dumps(Payload())


def test_the_payload_would_run(payload: bytes) -> None:
    pickle.loads(payload)
    assert Path("ran").exists()


@pytest.mark.parametrize("spiking", [False, True])
def test_weights_in_a_pickle_are_refused(payload: bytes, unet: UNet2DModel, spiking: bool) -> None:
    network = SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(0,))) if spiking else unet
    DDPMPipeline(network, DDPMScheduler()).save_pretrained("model")  # pyright: ignore[reportArgumentType]
    Path("model/unet/diffusion_pytorch_model.safetensors").unlink()
    Path("model/unet/diffusion_pytorch_model.bin").write_bytes(payload)
    with pytest.raises(SourceError, match="could not be loaded"):
        load_converted(Path("model")) if spiking else load_source("model")
    assert not Path("ran").exists()


def test_inception_weights_in_a_pickle_are_refused(payload: bytes) -> None:
    Path("weights.pth").write_bytes(payload)
    with pytest.raises(FeaturesError, match="not readable"):
        load_features("inception", 3, (32, 32), Path("weights.pth"))
    assert not Path("ran").exists()


def test_lsun_s_list_of_keys_is_never_read(payload: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = Path("_cache_datachurchoutdoortrainlmdb")

    def lsun(root: str, classes: list[str]) -> str:
        assert not listing.exists()
        listing.write_bytes(payload)
        return f"{root} {classes}"

    monkeypatch.setattr(datasets, "LSUN", lsun)
    listing.write_bytes(payload)
    assert PUBLISHED["lsun-church"].load(Path("data"), "train") == "data ['church_outdoor_train']"
    assert not listing.exists()


@pytest.mark.parametrize(
    "name", ["DiffusionPipeline", "UNet2DModel", "utils", "SchedulerMixinOf", None, ["DDPMScheduler"]]
)
def test_no_class_but_a_scheduler_is_made_from_a_scheduler_s_config(tmp_path: Path, name: Any) -> None:
    (tmp_path / "scheduler_config.json").write_text(json.dumps({"_class_name": name}))
    with pytest.raises(SourceError, match="is no scheduler that diffusers has here"):
        load_scheduler(tmp_path)
