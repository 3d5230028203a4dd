import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from ann2snn_diffusion.models.loading import SourceError, load_converted, load_source
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def load(folder: Path, variant: str | None = None) -> tuple[dict[str, torch.Tensor], str]:
    source = load_source(str(folder), scheduler="ddpm", variant=variant)
    return source.unet.state_dict(), source.variant


def same(found: dict[str, torch.Tensor], unet: UNet2DModel) -> bool:
    return found.keys() == unet.state_dict().keys() and all(
        torch.equal(found[name], weight) for name, weight in unet.state_dict().items()
    )


@pytest.mark.parametrize("shard", ["20KB", "10GB"])
@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("variant", [None, "fp16"])
def test_every_layout_that_diffusers_writes_loads(
    unet: UNet2DModel, tmp_path: Path, shard: str, safe: bool, variant: str | None
) -> None:
    unet.save_pretrained(tmp_path, max_shard_size=shard, safe_serialization=safe, variant=variant)
    found, used = load(tmp_path)
    assert same(found, unet)
    assert used == (variant or "")
    assert same(load(tmp_path, variant or "")[0], unet)


def test_a_variant_is_taken_only_where_asked_or_where_nothing_else_lies(unet: UNet2DModel, tmp_path: Path) -> None:
    unet.save_pretrained(tmp_path)
    usual = {name: weight.clone() for name, weight in unet.state_dict().items()}
    unet.half().save_pretrained(tmp_path, variant="fp16")
    assert torch.equal(load(tmp_path)[0]["conv_in.weight"], usual["conv_in.weight"])
    half, _ = load(tmp_path, "fp16")
    assert torch.equal(half["conv_in.weight"], usual["conv_in.weight"].half().float())
    with pytest.raises(SourceError, match=r"no diffusion_pytorch_model of variant ema, .* there are fp16"):
        load(tmp_path, "ema")


@pytest.mark.parametrize("shard", ["20KB", "10GB"])
def test_attention_keys_of_old_files_are_today_s(unet: UNet2DModel, tmp_path: Path, shard: str) -> None:
    def old(name: str) -> str:
        for today, before in OLD.items():
            name = name.replace(today, before)
        return name

    unet.save_pretrained(tmp_path, max_shard_size=shard)
    for file in tmp_path.glob("*.safetensors"):
        save_file({old(name): weight for name, weight in load_file(file).items()}, file)
    for file in tmp_path.glob("*.index.json"):
        content: dict[str, Any] = json.loads(file.read_text())
        content["weight_map"] = {old(name): shard for name, shard in content["weight_map"].items()}
        file.write_text(json.dumps(content))
    assert same(load(tmp_path)[0], unet)


def test_a_u_net_at_the_root_of_a_repository_loads_beside_its_scheduler(unet: UNet2DModel, tmp_path: Path) -> None:
    unet.save_pretrained(tmp_path)
    DDPMScheduler(beta_end=0.03).save_pretrained(tmp_path)
    source = load_source(str(tmp_path))
    assert same(source.unet.state_dict(), unet)
    assert source.scheduler_of == ""


def test_weights_of_another_shape_are_named(unet: UNet2DModel, tmp_path: Path) -> None:
    unet.save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file(load_file(file) | {"conv_in.weight": torch.zeros(8, 3, 3, 3)}, file)
    with pytest.raises(SourceError, match=r"mismatched keys in the weights: conv_in\.weight"):
        load(tmp_path)


def test_weights_do_not_change_with_their_file(unet: UNet2DModel, tmp_path: Path) -> None:
    unet.save_pretrained(tmp_path)
    found, _ = load(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    with file.open("r+b") as content:
        content.write(bytes(file.stat().st_size))
    assert same(found, unet)


@pytest.mark.parametrize("spiking", [False, True])
@pytest.mark.parametrize("kind", [torch.int32, torch.uint8, torch.bool])
def test_weights_that_are_no_floating_point_numbers_are_refused_with_name_and_type(
    unet: UNet2DModel, tmp_path: Path, kind: torch.dtype, spiking: bool
) -> None:
    network: Any = SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(0,))) if spiking else unet
    DDPMPipeline(network, DDPMScheduler()).save_pretrained(tmp_path)  # pyright: ignore[reportArgumentType]
    file = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    save_file(weights | {"conv_in.weight": weights["conv_in.weight"].to(kind)}, file, {"format": "pt"})
    name = str(kind).removeprefix("torch.")
    with pytest.raises(
        SourceError, match=rf"conv_in\.weight is of type {name} in the weights; expected floating-point"
    ):
        load_converted(tmp_path) if spiking else load_source(str(tmp_path))
