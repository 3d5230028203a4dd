from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DModel

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.spiking.guidance import factors, groups, kind_of, known_groups, stage_of
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from tests.ann2snn_diffusion.spiking.firings import radix

SEGMENTS = (0, 300, 700)


def spiking(unet: UNet2DModel, **changes: object) -> SpikingUNet2DModel:
    return SpikingUNet2DModel.from_unet(unet, SpikeSpec.from_dict({"segments": [0, 300, 700], **changes}))


def predict(network: SpikingUNet2DModel, *diffusion_timesteps: int) -> torch.Tensor:
    state = torch.randn(len(diffusion_timesteps), 1, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return network(state, torch.tensor(diffusion_timesteps)).sample


def test_every_site_of_a_unet_has_a_stage_and_a_kind(make_unet: Callable[..., UNet2DModel]) -> None:
    stages, kinds = {}, {}
    for name in spiking(make_unet()).neurons():
        stages[name], kinds[name] = stage_of(name), kind_of(name)
    assert stages["down_blocks.0.resnets.0.conv1.neuron"] == "stage.down"
    assert stages["mid_block.attentions.0.processor.key"] == "stage.mid"
    assert stages["conv_out.neuron"] == stages["up_blocks.1.resnets.0.conv_shortcut.neuron"] == "stage.up"
    assert kinds["mid_block.attentions.0.to_out.0.neuron"] == "kind.attention"
    assert kinds["up_blocks.1.resnets.0.conv_shortcut.neuron"] == "kind.shortcut"
    assert {kinds[name] for name in kinds if "samplers" in name} == {"kind.resampling"}
    assert kinds["conv_out.neuron"] == kinds["mid_block.resnets.1.conv2.neuron"] == "kind.activation"
    assert set(kinds.values()) == set(groups("kind", SEGMENTS))
    assert set(stages.values()) == set(groups("stage", SEGMENTS))


def test_a_site_has_the_product_of_the_factors_of_its_groups() -> None:
    guidance = {"all": 2.0, "stage.up": 3.0, "kind.attention": 5.0, "segment.300": 7.0}
    site = "up_blocks.0.attentions.0.processor.value"
    assert factors(guidance, site, SEGMENTS) == (30.0, 210.0, 30.0)
    assert factors(guidance, "mid_block.resnets.0.conv1.neuron", SEGMENTS) == (2.0, 14.0, 2.0)
    assert factors(0.5, site, SEGMENTS) == (0.5, 0.5, 0.5)
    assert factors({}, site, SEGMENTS) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("coding", "schedule"), [("radix", "layerwise"), ("rate", "synchronous")])
def test_a_segment_s_factor_acts_in_that_segment_only(unet: UNet2DModel, coding: str, schedule: str) -> None:
    network = spiking(unet, coding=coding, schedule=schedule)
    plain = predict(network, 100, 400, 800)
    network.guidance = {"segment.300": 0.5}
    guided = predict(network, 100, 400, 800)
    assert torch.equal(guided[[0, 2]], plain[[0, 2]])
    assert (guided[1] - plain[1]).abs().max() > 1e-2
    network.guidance = 0.5
    torch.testing.assert_close(predict(network, 100, 400, 800)[1], guided[1])


def test_a_factor_for_the_last_step_acts_there_alone() -> None:
    firing = replace(radix(4, dead_zone=True), by_step=(0.9, 1.2))
    assert firing.guided
    plain = radix(4, dead_zone=True).conditions
    assert {weight: firing.condition(weight) for weight in plain} == pytest.approx(
        {weight: (1.2 if weight == 1 else 0.9) * condition for weight, condition in plain.items()}
    )


@pytest.mark.parametrize("timesteps", [(100,), (100, 400)])
def test_one_factor_for_all_steps_is_that_factor(unet: UNet2DModel, timesteps: tuple[int, ...]) -> None:
    network = spiking(unet)
    network.guidance = {"all": 1.2, "segment.300": 0.9}
    expected = predict(network, *timesteps)
    network.guidance = {"step.earlier": 1.2, "step.last": 1.2, "segment.300": 0.9}
    torch.testing.assert_close(predict(network, *timesteps), expected)
    network.guidance = {"step.last": 1.0, "segment.300": 0.9}
    assert not torch.equal(predict(network, *timesteps), expected)


def test_a_wider_dead_zone_fires_fewer_spikes(generator: torch.Generator) -> None:
    neuron = SpikingNeuron(3, True, SpikeSpec(segments=(0,), dead_zone=True), doubled=True)
    neuron.threshold.data.fill_(200)
    value = torch.randn(64, 3, 8, 8, generator=generator)
    plain = neuron.spikes(value).abs().sum()
    neuron.step_guidance = (1.0, 1.3)
    fewer = neuron.spikes(value)
    assert fewer.abs().sum() < 0.95 * plain
    unit, offset = neuron.levels(value)
    torch.testing.assert_close(neuron(value), offset + unit * neuron.weighted_sum(fewer))


def test_steps_that_weigh_the_same_have_one_factor(unet: UNet2DModel) -> None:
    network = spiking(unet, coding="rate")
    with pytest.raises(SpecError, match=r"guidance = 'step.last': expected groups among all, segment.0"):
        network.guidance = {"step.last": 1.1}


def test_factor_one_is_exactly_the_unguided_network(unet: UNet2DModel) -> None:
    network = spiking(unet)
    plain = predict(network, 100, 400)
    network.guidance = {"all": 0.9, "stage.up": 1.1}
    assert not torch.equal(predict(network, 100, 400), plain)
    network.guidance = dict.fromkeys(known_groups(SEGMENTS), 1.0)
    assert torch.equal(predict(network, 100, 400), plain)


def test_guidance_is_saved_with_the_model(unet: UNet2DModel, tmp_path: object) -> None:
    network = spiking(unet)
    network.guidance = {"segment.0": 0.9, "kind.shortcut": 1.05}
    network.save_pretrained(str(tmp_path))
    loaded = SpikingUNet2DModel.from_pretrained(str(tmp_path))
    assert loaded.guidance == {"segment.0": 0.9, "kind.shortcut": 1.05}
    assert torch.equal(predict(loaded, 5, 400), predict(network, 5, 400))


@pytest.mark.parametrize(
    ("guidance", "message"),
    [
        ({"segment.5": 0.9}, "segment.5"),
        ({"stage.left": 0.9}, "stage.left"),
        ({"all": 0}, r"in \(0, 10\]"),
        ({"all": "0.9"}, r"in \(0, 10\]"),
        ({"all": float("nan")}, r"in \(0, 10\]"),
        (float("inf"), r"in \(0, 10\]"),
        (True, r"in \(0, 10\]"),
    ],
)
def test_unknown_groups_and_impossible_factors_are_refused(unet: UNet2DModel, guidance: object, message: str) -> None:
    network = spiking(unet)
    with pytest.raises(SpecError, match=message):
        network.guidance = guidance  # pyright: ignore[reportAttributeAccessIssue]
    assert network.guidance == 1.0
