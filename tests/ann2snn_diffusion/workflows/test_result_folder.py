import copy
import logging
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import load_file

from ann2snn_diffusion import SpikeSpec, SpikingUNet2DModel, fold
from ann2snn_diffusion.models.loading import Source
from ann2snn_diffusion.workflows.result_folder import Writing, sample_grids, stored_as

WEIGHTS = "diffusion_pytorch_model.safetensors"


def test_a_network_whose_images_are_not_finite_has_a_line_in_place_of_a_grid(
    unet: UNet2DModel, scheduler: DDPMScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    broken = copy.deepcopy(unet)
    broken.conv_out.weight.data.fill_(torch.nan)
    source = Source(unet, scheduler, "tiny")  # pyright: ignore[reportArgumentType]
    with caplog.at_level(logging.WARNING):
        grids = sample_grids({"good": unet, "bad": broken}, source, Writing(samples=1, sample_steps=2))
    assert list(grids) == ["good"]
    assert "no images of bad: Images 0 to 0 hold values that are not finite" in caplog.text


def test_weights_are_half_as_large_again_as_the_anns_and_folded_no_larger(tmp_path: Path) -> None:
    cifar: dict[str, object] = {  # the shape of google/ddpm-cifar10-32, a quarter as wide
        "block_out_channels": (32, 64, 64, 64),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": None,
        "downsample_padding": 0,
    }
    ann = UNet2DModel(sample_size=32, **cifar)  # pyright: ignore[reportArgumentType]
    snn = SpikingUNet2DModel.from_unet(ann, SpikeSpec())
    ann.save_pretrained(tmp_path / "ann")
    sizes = {}
    for name, network in {"usual": snn, "folded": fold(snn)}.items():
        with stored_as(network, "float32"):
            network.save_pretrained(tmp_path / name)
        sizes[name] = (tmp_path / name / WEIGHTS).stat().st_size / (tmp_path / "ann" / WEIGHTS).stat().st_size
    assert sizes["usual"] < 1.55
    assert sizes["folded"] < 1.05


def test_half_holds_the_neurons_of_a_folded_network_where_it_can(unet: UNet2DModel, tmp_path: Path) -> None:
    folded = fold(SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(0, 300))))
    small, large, usual = ("down_blocks.0.resnets.0.conv1", "mid_block.resnets.0.conv1", "conv_out")
    folded.get_parameter(f"{small}.neuron.threshold").data[0, 0] = 1e-6
    folded.get_parameter(f"{large}.neuron.offset").data[0, 0] = 1e6
    folded.get_parameter(f"{usual}.neuron.offset").data.fill_(0.1)
    with stored_as(folded, "bfloat16"):
        folded.save_pretrained(tmp_path)
    stored = load_file(tmp_path / WEIGHTS)
    kinds = {name: stored[f"{name}.neuron.offset"].dtype for name in (small, large, usual)}
    assert kinds == {small: torch.float32, large: torch.float32, usual: torch.float16}
    assert stored["conv_out.weight"].dtype == torch.float32  # two large weights that nearly cancel are in it
    assert stored["conv_in.weight"].dtype == stored[f"{small}.weight"].dtype == torch.bfloat16
    loaded = SpikingUNet2DModel.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in folded.state_dict().items())
