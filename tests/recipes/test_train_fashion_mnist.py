import gzip
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline
from safetensors.torch import load_file

SCRIPT = Path(__file__).parents[2] / "recipes" / "train_fashion_mnist.py"


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found = importlib.util.spec_from_file_location("train_fashion_mnist", SCRIPT)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    tiny = {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4}
    monkeypatch.setattr(module, "ARCHITECTURE", module.ARCHITECTURE | tiny)
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + images.tobytes()))
    return tmp_path


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors")


def test_images_are_padded_with_black(recipe: ModuleType, data: Path) -> None:
    images = recipe.read_images(data)
    assert images.shape == (20, 32, 32)
    assert images[:, :2].sum() == 0


def test_an_interrupted_training_continues_as_if_never_stopped(
    recipe: ModuleType, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"data": data, "steps": 5, "train_batch_size": 2, "checkpointing_steps": 2, "lr_warmup_steps": 1}
    recipe.main(tmp_path / "whole", **arguments)

    batch = recipe.training_batch

    def interrupted(images: torch.Tensor, step: int, *rest: int) -> object:
        if step == 3:
            raise KeyboardInterrupt
        return batch(images, step, *rest)

    monkeypatch.setattr(recipe, "training_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recipe.main(tmp_path / "stopped", **arguments)
    monkeypatch.setattr(recipe, "training_batch", batch)
    recipe.main(tmp_path / "stopped", **arguments)

    whole, stopped = weights_of(tmp_path / "whole"), weights_of(tmp_path / "stopped")
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    steps = [json.loads(line)["step"] for line in (tmp_path / "whole" / "loss.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5]
    assert DDPMPipeline.from_pretrained(tmp_path / "whole" / "pipeline").unet.dtype == torch.float32
    assert next(iter(whole.values())).dtype == torch.float16
