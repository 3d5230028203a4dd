from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from diffusers.models.unets.unet_2d_blocks import DownBlock2D
from torch import nn

from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.spiking.rules import Site, UnsupportedLayerError, load_rules, to_spiking
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "plain, no attention": {
        "down_block_types": ("DownBlock2D",) * 2,
        "up_block_types": ("UpBlock2D",) * 2,
        "add_attention": False,
    },
    "attention, several heads": {"attention_head_dim": 4},
    "attention, heads as wide as the block": {"attention_head_dim": None},
    "resnet samplers": {
        "down_block_types": ("ResnetDownsampleBlock2D",) * 2,
        "up_block_types": ("ResnetUpsampleBlock2D",) * 2,
    },
    "resnet samplers in attention blocks": {
        "down_block_types": ("AttnDownBlock2D",) * 2,
        "up_block_types": ("AttnUpBlock2D",) * 2,
        "downsample_type": "resnet",
        "upsample_type": "resnet",
    },
    "skip blocks": {
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": (32, 32),
        "down_block_types": ("SkipDownBlock2D", "AttnSkipDownBlock2D"),
        "up_block_types": ("AttnSkipUpBlock2D", "SkipUpBlock2D"),
        "time_embedding_type": "fourier",
    },
    "scale and shift": {"resnet_time_scale_shift": "scale_shift"},
    "unpadded downsampling": {"downsample_padding": 0},
    "centred input": {"center_input_sample": True},
    "mish": {"act_fn": "mish"},
    "gelu": {"act_fn": "gelu"},
    "relu": {"act_fn": "relu"},
    "not square": {"sample_size": (8, 16)},
    "scaled middle": {"mid_block_scale_factor": 2.0},
    "no middle": {"mid_block_type": None},
    "learned time": {"time_embedding_type": "learned", "num_train_timesteps": 1000},
    "grouped attention norm": {"attn_norm_num_groups": 2},
    "class labels": {"num_class_embeds": 3},
    "timestep labels": {"class_embed_type": "timestep"},
    "dropout": {"dropout": 0.1},
}
MakeUNet = Callable[..., UNet2DModel]
SCHEDULES = [{"coding": "radix"}, {"coding": "rate", "schedule": "synchronous"}]


def inputs_of(unet: UNet2DModel) -> dict[str, torch.Tensor]:
    size = unet.config["sample_size"]
    height, width = (size, size) if isinstance(size, int) else size
    sample = torch.randn(2, unet.config["in_channels"], height, width, generator=torch.Generator().manual_seed(3))
    labelled = unet.config["num_class_embeds"] or unet.config["class_embed_type"]
    labels = {"class_labels": torch.tensor([1, 2])} if labelled else {}
    return {"sample": sample, "timestep": torch.tensor([3, 700])} | labels


@pytest.mark.parametrize("spec", SCHEDULES, ids=["layerwise", "synchronous"])
@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_every_architecture_converts_and_its_analog_mode_is_bitwise_the_ann(
    make_unet: MakeUNet, name: str, spec: dict[str, Any]
) -> None:
    unet = make_unet(**ARCHITECTURES[name])
    spiking = SpikingUNet2DModel.from_unet(unet, SpikeSpec.from_dict(spec))
    inputs = inputs_of(unet)
    with analog(spiking):
        assert torch.equal(spiking(**inputs).sample, unet(**inputs).sample)
    assert not torch.equal(spiking(**inputs).sample, unet(**inputs).sample)


@pytest.mark.parametrize("spec", SCHEDULES, ids=["layerwise", "synchronous"])
@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_with_many_levels_every_architecture_approaches_its_ann(
    make_unet: MakeUNet, name: str, spec: dict[str, Any]
) -> None:
    unet = make_unet(**ARCHITECTURES[name])
    inputs = inputs_of(unet)
    expected = unet(**inputs).sample
    errors = []
    for time_steps in (2, 16):
        spiking = SpikingUNet2DModel.from_unet(unet, SpikeSpec.from_dict(spec | {"time_steps": time_steps}))
        for neuron in spiking.neurons().values():
            neuron.threshold.fill_(6.0)
        errors.append(((spiking(**inputs).sample - expected).square().sum() / expected.square().sum()).item())
    assert errors[1] < 0.4 * errors[0]


@torch.no_grad()
def test_only_the_input_convolution_and_the_time_embedding_stay_analog(make_unet: MakeUNet) -> None:
    spiking = SpikingUNet2DModel.from_unet(make_unet(), SpikeSpec())
    driven = {name for name, module in spiking.named_modules() if hasattr(module, "neuron")}
    shared = ("to_q", "to_k", "to_v")  # behind their processor's encoder
    for name, module in spiking.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and name not in driven and name.rsplit(".", 1)[0] not in driven:
            assert name == "conv_in" or "time_emb" in name or name.endswith(shared), name


def test_a_layer_without_a_rule_is_refused_by_name(unet: UNet2DModel) -> None:
    unet.mid_block = nn.ModuleList([nn.Bilinear(2, 2, 2)])  # pyright: ignore[reportAttributeAccessIssue]
    site = Site(SpikeSpec())
    with pytest.raises(
        UnsupportedLayerError, match=r"mid_block\.0: no rule converts a Bilinear.*name 'mid_block\.0' in `keep`"
    ):
        to_spiking(unet, site)


@torch.no_grad()
def test_patterns_keep_modules_analog(unet: UNet2DModel) -> None:
    everything = SpikingUNet2DModel.from_unet(unet, SpikeSpec()).neurons()
    kept = SpikingUNet2DModel.from_unet(unet, SpikeSpec(keep=("up_blocks.*", "conv_out"))).neurons()
    assert set(kept) == {name for name in everything if not name.startswith(("up_blocks", "conv_out"))}


def test_a_pattern_that_matches_nothing_is_refused(unet: UNet2DModel) -> None:
    with pytest.raises(UnsupportedLayerError, match="'nothing' matches no module"):
        SpikingUNet2DModel.from_unet(unet, SpikeSpec(keep=("nothing",)))


def test_patterns_double_the_neurons_of_sites(unet: UNet2DModel) -> None:
    neurons = SpikingUNet2DModel.from_unet(unet, SpikeSpec(doubled=("mid_block", "*.conv_shortcut"))).neurons()
    doubled = {name for name, neuron in neurons.items() if neuron.doubled}
    assert doubled == {name for name in neurons if name.startswith("mid_block") or "shortcut" in name}


def test_doubling_an_analog_module_is_refused(unet: UNet2DModel) -> None:
    with pytest.raises(UnsupportedLayerError, match="'conv_out' matches no site"):
        SpikingUNet2DModel.from_unet(unet, SpikeSpec(keep=("conv_out",), doubled=("conv_out",)))


def test_a_file_of_rules_teaches_a_new_layer(tmp_path: Any) -> None:
    file = tmp_path / "rules.py"
    file.write_text(
        "from torch import nn\n"
        "from ann2snn_diffusion import Site, spiking_synapse, to_spiking\n"
        "@to_spiking.register\n"
        "def _(layer: nn.PixelShuffle, site: Site) -> nn.Module:\n"
        "    return nn.Identity()\n"
    )
    load_rules(file)
    site = Site(SpikeSpec())
    assert isinstance(to_spiking(nn.PixelShuffle(2), site), nn.Identity)


@pytest.mark.parametrize("content", [None, "import nowhere_at_all", "1 +", "raise SystemExit(0)", "exit()"])
def test_a_broken_file_of_rules_is_one_clear_line(tmp_path: Any, content: str | None) -> None:
    file = tmp_path / "rules.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UnsupportedLayerError, match=r"`rules` .*rules\.py"):
        load_rules(file)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", "down_blocks.0: the rule for a DownBlock2D returned None; expected a module"),
        ("layer.nothing", "down_blocks.0: the rule for a DownBlock2D failed: AttributeError"),
    ],
)
def test_a_rule_that_gives_nothing_or_fails_is_one_line_with_its_place(
    tmp_path: Path, unet: UNet2DModel, body: str, message: str
) -> None:
    file = tmp_path / "rules.py"
    file.write_text(
        "from diffusers.models.unets.unet_2d_blocks import DownBlock2D\n"
        "from ann2snn_diffusion.spiking.rules import to_spiking\n"
        f"@to_spiking.register(DownBlock2D)\ndef _(layer, site):\n    {body}\n"
    )
    before = dict(to_spiking.registry)
    try:
        load_rules(file)
        with pytest.raises(UnsupportedLayerError, match=message):
            SpikingUNet2DModel.from_unet(unet, SpikeSpec())
    finally:
        to_spiking.register(DownBlock2D, before[DownBlock2D])


@pytest.mark.parametrize("signed", [True, False])
def test_skip_blocks_take_the_image_as_a_current_and_give_theirs_in_spikes(
    make_unet: Callable[..., UNet2DModel], signed: bool
) -> None:
    unet: Any = SpikingUNet2DModel.from_unet(
        make_unet(**ARCHITECTURES["skip blocks"]), SpikeSpec(signed_activations=signed)
    )
    assert type(unet.down_blocks[0].skip_conv) is nn.Conv2d
    assert unet.up_blocks[0].skip_conv.neuron.signed is signed
    assert [name for name in unet.neurons() if "skip_conv" in name] == ["up_blocks.0.skip_conv.neuron"]
