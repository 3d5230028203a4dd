import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from ann2snn_diffusion import SpikingUNet2DModel, analog, fold
from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.spiking.ann_outputs import seen_states
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.corrected import Corrected
from ann2snn_diffusion.spiking.folding import FoldedError
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SourceError
from calibration.observe import visiting
from tests.conftest import build_unet

SEGMENTS: dict[str, Any] = {"segments": [0, 300, 700]}
SPECS: dict[str, dict[str, Any]] = {
    "radix": {"doubled": ["*"], "dead_zone": True},
    "ternary": {"coding": "ternary"},
    "rate": {"coding": "rate", "learned_step_weights": True},
    "synchronous": {"coding": "rate", "schedule": "synchronous", "leak": 0.9},
    "guided": {"guidance": {"segment.300": 0.9, "stage.up": 1.1}},
    "analog output": {"keep": ["conv_out"]},
}
SAMPLE = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
TIMESTEPS = torch.tensor([0, 299, 300, 500, 700, 999])


def corrected_network(unet: UNet2DModel, **spec: Any) -> SpikingUNet2DModel:
    """A network in float64, lest rounding flip a level, that has something to add to each of its weights."""
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec.from_dict({"version": 1, **SEGMENTS, **spec})).double().eval()
    generator = torch.Generator().manual_seed(0)
    for layer in snn.synapses().values():
        for name in layer.own_parameters:
            own = getattr(layer, name)
            own.data = 0.02 * torch.randn(own.shape, generator=generator, dtype=own.dtype)
    return snn


@torch.no_grad()
def predicted(snn: SpikingUNet2DModel, sample: Tensor = SAMPLE) -> Tensor:
    return snn(sample.to(snn.dtype), TIMESTEPS).sample


@pytest.mark.parametrize("name", SPECS)
def test_a_folded_network_predicts_the_same(unet: UNet2DModel, name: str) -> None:
    snn = corrected_network(unet, **SPECS[name])
    before = {key: tensor.clone() for key, tensor in snn.state_dict().items()}
    folded = fold(snn)
    torch.testing.assert_close(predicted(folded), predicted(snn), rtol=1e-9, atol=1e-11)
    assert all(torch.equal(tensor, before[key]) for key, tensor in snn.state_dict().items())
    assert not snn.folded


def test_it_has_one_weight_for_each_synapse_and_no_ann(unet: UNet2DModel) -> None:
    snn = corrected_network(unet)
    folded = fold(snn)
    names, stock = set(folded.state_dict()), set(unet.state_dict())
    assert names - stock == {name for name in snn.own_parameters() if "correction" not in name}
    assert names - stock == folded.own_parameters()
    assert stock < names
    for name, layer in folded.synapses().items():
        assert not torch.equal(layer.weight, snn.get_submodule(name).weight)  # pyright: ignore
    own = sum(folded.get_parameter(name).numel() for name in folded.own_parameters())
    segments, outputs, received = len(snn.spec.segments), 1, 8 + 1
    output = (segments * received - 8) * outputs * 9 + (segments - 1) * outputs
    assert folded.num_parameters() == unet.num_parameters() + own + output


def test_folding_twice_changes_nothing(unet: UNet2DModel) -> None:
    once = fold(corrected_network(unet))
    twice = fold(once)
    assert all(torch.equal(tensor, twice.state_dict()[name]) for name, tensor in once.state_dict().items())


def test_it_is_saved_and_loaded_alone_and_in_a_pipeline(unet: UNet2DModel, tmp_path: Path) -> None:
    folded = fold(corrected_network(unet)).float()
    DDPMPipeline(folded, DDPMScheduler()).save_pretrained(tmp_path)  # pyright: ignore[reportArgumentType]
    for loaded in (SpikingUNet2DModel.from_pretrained(tmp_path), DDPMPipeline.from_pretrained(tmp_path).unet):
        assert isinstance(loaded, SpikingUNet2DModel)
        assert loaded.folded
        assert torch.equal(predicted(loaded), predicted(folded))
    config = tmp_path / "unet" / "config.json"
    config.write_text(config.read_text().replace('"folded": true', '"folded": false'))
    with pytest.raises(SourceError, match="conv_out"):
        SpikingUNet2DModel.from_pretrained(tmp_path)


def test_the_config_says_true_or_false(unet: UNet2DModel) -> None:
    config = {**corrected_network(unet).config, "folded": "yes"}
    with pytest.raises(SpecError, match="folded = 'yes': expected true or false"):
        SpikingUNet2DModel.from_config(config)


def test_it_is_an_ordinary_module(unet: UNet2DModel) -> None:
    folded = fold(corrected_network(unet)).float()
    expected = predicted(folded)
    assert torch.equal(predicted(copy.deepcopy(folded)), expected)
    nn.Module.to(folded, memory_format=torch.channels_last)
    torch.testing.assert_close(predicted(folded), expected, rtol=1e-4, atol=1e-4)
    nn.Module.to(folded, torch.bfloat16)
    halved = predicted(folded).float()
    assert (halved - expected).square().mean() < 0.2 * expected.square().mean()


@pytest.mark.slow
def test_it_is_exported() -> None:
    small = build_unet(
        block_out_channels=(8,), down_block_types=("AttnDownBlock2D",), up_block_types=("UpBlock2D",),
        mid_block_type=None,
    )  # fmt: skip
    folded = fold(corrected_network(small)).float()
    program = torch.export.export(folded, (SAMPLE, TIMESTEPS)).module()
    assert torch.equal(program(SAMPLE, TIMESTEPS).sample, predicted(folded))


def test_guidance_and_another_spec_can_be_set(unet: UNet2DModel) -> None:
    snn = corrected_network(unet, coding="rate")
    folded = fold(snn)
    ticking = SpikeSpec.from_dict({**snn.spec.to_dict(), "schedule": "synchronous"})
    torch.testing.assert_close(predicted(folded.with_spec(ticking)), predicted(snn.with_spec(ticking)))
    assert folded.with_spec(ticking).folded
    snn.guidance = folded.guidance = {"segment.300": 0.8}
    torch.testing.assert_close(predicted(folded), predicted(snn))


def test_what_needs_the_ann_is_refused_by_name(unet: UNet2DModel, generator: torch.Generator) -> None:
    folded = fold(corrected_network(unet))
    folded.register_to_config(converted_from={"source": "fashion-mnist", "revision": None})
    batch = (SAMPLE, TIMESTEPS, None)
    for name, asked in {
        "ann()": folded.ann,
        "ann() ": folded.ann_state_dict,
        "analog(…)": lambda: analog(nn.Sequential(folded)).__enter__(),
        "calibrate": lambda: seen_states(folded, batch, CalibrationSpec(), generator, 16),
    }.items():
        with pytest.raises(
            FoldedError, match=r"a folded network has no more.*or convert fashion-mnist again"
        ) as refused:
            asked()
        assert str(refused.value).startswith(name.strip() + " needs the ANN")
        assert "\n" not in str(refused.value)
    assert not folded.mode.analog


@pytest.mark.parametrize("schedule", ["layerwise", "synchronous"])
@torch.no_grad()
def test_a_forward_pass_adds_weight_and_correction_once(
    unet: UNet2DModel, schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    snn = corrected_network(unet, coding="rate", schedule=schedule)
    added: Counter[Corrected] = Counter()
    in_force = Corrected.in_force

    def counted(layer: Corrected) -> Any:
        added[layer] += 1
        return in_force(layer)

    monkeypatch.setattr(Corrected, "in_force", counted)
    called: Counter[nn.Module] = Counter()
    with visiting(after=[(layer, lambda *_, layer=layer: called.update([layer])) for layer in snn.synapses().values()]):
        predicted(snn)
    assert called == dict.fromkeys(snn.synapses().values(), 1)
    assert added == dict.fromkeys(set(snn.synapses().values()) - {snn.conv_out}, 1)  # which adds what the two give
