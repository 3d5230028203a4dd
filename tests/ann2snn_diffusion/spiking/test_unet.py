import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ann2snn_diffusion.spiking.modes import analog, listening
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SourceError, SpikingUNet2DModel


@torch.no_grad()
def test_the_ann_keeps_its_weights_and_its_names(unet: UNet2DModel, spiking: SpikingUNet2DModel) -> None:
    before = unet.state_dict()
    assert set(before) < set(spiking.state_dict())
    spiking.conv_in.weight += 1
    assert not torch.equal(unet.conv_in.weight, spiking.conv_in.weight)


@torch.no_grad()
def test_the_ann_can_be_taken_out_again(unet: UNet2DModel, spiking: SpikingUNet2DModel, tmp_path: Path) -> None:
    spiking.conv_out.weight_correction += 1  # pyright: ignore[reportAttributeAccessIssue, reportOperatorIssue]
    spiking.save_pretrained(tmp_path)
    ann = SpikingUNet2DModel.from_pretrained(tmp_path).ann()
    assert type(ann) is UNet2DModel
    weights = ann.state_dict()
    assert set(weights) == set(unet.state_dict())
    assert all(torch.equal(weight, weights[name]) for name, weight in unet.state_dict().items())
    ann.conv_in.weight += 1
    assert torch.equal(spiking.conv_in.weight, unet.conv_in.weight)


@torch.no_grad()
def test_saved_and_reloaded_is_bitwise_the_saved(spiking: SpikingUNet2DModel, tmp_path: Path) -> None:
    sample, diffusion_timestep = torch.randn(2, 1, 8, 8), torch.tensor([10, 900])
    expected = spiking(sample, diffusion_timestep).sample
    spiking.save_pretrained(tmp_path / "unet")
    for place in (tmp_path / "unet", tmp_path):  # U-Net folder, pipeline folder
        reloaded = SpikingUNet2DModel.from_pretrained(place)
        assert reloaded.spec == spiking.spec
        assert torch.equal(reloaded(sample, diffusion_timestep).sample, expected)


@torch.no_grad()
def test_nothing_is_kept_between_calls(spiking: SpikingUNet2DModel) -> None:
    sample = torch.randn(3, 1, 8, 8)
    first = spiking(sample, 10).sample
    spiking(torch.randn(5, 1, 8, 8), torch.tensor([1, 600, 2, 999, 0]))
    with analog(spiking):
        spiking(sample, 700)
    assert torch.equal(spiking(sample, 10).sample, first)


@pytest.mark.parametrize("spec", [SpikeSpec(), SpikeSpec(coding="rate", schedule="synchronous")])
@torch.no_grad()
def test_an_image_does_not_depend_on_the_batch_it_came_in(unet: UNet2DModel, spec: SpikeSpec) -> None:
    spiking = SpikingUNet2DModel.from_unet(unet, spec).double().eval()
    sample, diffusion_timesteps = torch.randn(6, 1, 8, 8).double(), torch.tensor([0, 11, 40, 200, 400, 900])
    together = spiking(sample, diffusion_timesteps).sample
    for row in range(6):
        alone = spiking(sample[row : row + 1], diffusion_timesteps[row]).sample
        torch.testing.assert_close(alone, together[row : row + 1])


@pytest.mark.parametrize("kind", [DDPMScheduler, DDIMScheduler])
def test_a_pipeline_takes_it_as_it_takes_any_unet(spiking: SpikingUNet2DModel, tmp_path: Path, kind: type) -> None:
    pipeline = DDPMPipeline(unet=spiking, scheduler=kind())
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(tmp_path)
    reloaded = DDPMPipeline.from_pretrained(tmp_path)
    reloaded.set_progress_bar_config(disable=True)
    assert isinstance(reloaded.unet, SpikingUNet2DModel)
    images: list[Any] = [
        each(generator=torch.Generator().manual_seed(0), num_inference_steps=2, output_type="np").images  # pyright: ignore[reportAttributeAccessIssue]
        for each in (pipeline, reloaded)
    ]
    assert (images[0] == images[1]).all()


@pytest.mark.parametrize("spec", [SpikeSpec(), SpikeSpec(coding="rate", schedule="synchronous", time_steps=2)])
@torch.no_grad()
def test_learned_amplitudes_start_as_the_step_weights_and_are_saved(
    unet: UNet2DModel, tmp_path: Path, spec: SpikeSpec
) -> None:
    snn = SpikingUNet2DModel.from_unet(unet, spec)
    learning = snn.with_spec(replace(spec, learned_step_weights=True))
    state, timestep = torch.randn(3, 1, 8, 8), torch.tensor([5, 300, 950])
    torch.testing.assert_close(learning(state, timestep).sample, snn(state, timestep).sample, atol=1e-4, rtol=1e-4)
    for neuron in learning.neurons().values():
        assert neuron.amplitudes is not None
        assert neuron.amplitudes.tolist() == list(neuron.weights)
        neuron.amplitudes.mul_(1.1)
    changed = learning(state, timestep).sample
    assert not torch.allclose(changed, snn(state, timestep).sample, atol=1e-3)
    learning.save_pretrained(tmp_path)
    assert torch.equal(SpikingUNet2DModel.from_pretrained(tmp_path)(state, timestep).sample, changed)


@torch.no_grad()
def test_in_another_schedule_it_fires_with_the_same_parameters(unet: UNet2DModel) -> None:
    layerwise = SpikingUNet2DModel.from_unet(unet, SpikeSpec(coding="rate", segments=(0,)))
    for parameter in layerwise.parameters():
        parameter += 0.01
    ticking = layerwise.with_spec(replace(layerwise.spec, schedule="synchronous"))
    mine, own = layerwise.state_dict(), ticking.state_dict()
    assert all(torch.equal(own[name], value) for name, value in mine.items())
    assert all(own[name] == 1 for name in set(own) - set(mine))  # leaks
    assert not torch.equal(ticking(torch.ones(1, 1, 8, 8), 5).sample, layerwise(torch.ones(1, 1, 8, 8), 5).sample)
    assert layerwise.spec.schedule == "layerwise"


def test_no_path_of_this_machine_is_saved(spiking: SpikingUNet2DModel, tmp_path: Path) -> None:
    spiking.save_pretrained(tmp_path / "one" / "unet")
    SpikingUNet2DModel.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
    assert str(tmp_path) not in (tmp_path / "two" / "config.json").read_text()


def test_missing_and_corrupt_weights_are_refused(spiking: SpikingUNet2DModel, tmp_path: Path) -> None:
    spiking.save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    save_file({name: weight for name, weight in weights.items() if name != "conv_out.neuron.threshold"}, file)
    with pytest.raises(SourceError, match=r"missing keys in the weights: conv_out\.neuron\.threshold"):
        SpikingUNet2DModel.from_pretrained(tmp_path)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(SourceError, match="could not be loaded"):
        SpikingUNet2DModel.from_pretrained(tmp_path)


def test_an_unknown_field_in_a_saved_spec_is_refused(spiking: SpikingUNet2DModel, tmp_path: Path) -> None:
    spiking.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["spiking"]["colour"] = "red"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="colour = 'red': expected one of the fields time_steps, "):
        SpikingUNet2DModel.from_pretrained(tmp_path)


@torch.no_grad()
def test_a_deep_copy_is_independent(spiking: SpikingUNet2DModel) -> None:
    twin = copy.deepcopy(spiking)
    sample = torch.randn(1, 1, 8, 8)
    with analog(spiking):
        assert torch.equal(twin(sample, 5).sample, twin(sample, 5).sample)
        assert not torch.equal(twin(sample, 5).sample, spiking(sample, 5).sample)
    assert torch.equal(twin(sample, 5).sample, spiking(sample, 5).sample)


def test_half_precision_runs(spiking: SpikingUNet2DModel) -> None:
    noise = nn.Module.to(spiking, torch.bfloat16)(torch.randn(1, 1, 8, 8, dtype=torch.bfloat16), 5).sample
    assert noise.dtype == torch.bfloat16


SPECS = [SpikeSpec(), SpikeSpec(coding="rate", schedule="synchronous", time_steps=2)]
EARLY, LATE = torch.tensor([5, 700]), torch.tensor([990, 40])
Loss = Callable[[SpikingUNet2DModel, Tensor], Tensor]


def one_pass(snn: SpikingUNet2DModel, sample: Tensor) -> Tensor:
    return snn(sample, EARLY).sample.square().sum()


def two_passes(snn: SpikingUNet2DModel, sample: Tensor) -> Tensor:
    return (snn(sample, EARLY).sample * snn(sample[:1], LATE[:1]).sample).sum()


def one_of_them_analog(snn: SpikingUNet2DModel, sample: Tensor) -> Tensor:
    with analog(snn):
        target = snn(sample, LATE).sample
    return (snn(sample, EARLY).sample - target).square().sum()


def with_firing_rates(snn: SpikingUNet2DModel, sample: Tensor) -> Tensor:
    with listening(snn, lambda neuron, value: neuron.spikes(value).abs().mean()) as rates:
        noise = snn(sample, EARLY).sample
    return noise.square().sum() + 100 * torch.stack(list(rates.values())).mean()


@pytest.mark.parametrize("loss", [one_pass, two_passes, one_of_them_analog, with_firing_rates])
@pytest.mark.parametrize("spec", SPECS)
def test_gradient_checkpointing_gives_the_same_gradients(unet: UNet2DModel, spec: SpikeSpec, loss: Loss) -> None:
    sample, found = torch.randn(2, 1, 8, 8, dtype=torch.float64), []
    for checkpointing in (False, True):
        snn = SpikingUNet2DModel.from_unet(unet, spec).double().train()
        for neuron in snn.neurons().values():  # segments differ
            neuron.threshold.data += torch.linspace(0, 1, neuron.threshold.numel()).view_as(neuron.threshold)
        if checkpointing:
            snn.enable_gradient_checkpointing()
        value = loss(snn, sample)
        value.backward()
        found.append((value, {name: parameter.grad for name, parameter in snn.named_parameters()}))
    (plain, gradients), (checkpointed, again) = found
    assert torch.equal(checkpointed, plain)
    assert any(gradient is not None and gradient.any() for gradient in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-12, atol=1e-12)


def test_its_own_parameters_are_those_that_the_ann_has_not(unet: UNet2DModel) -> None:
    for spec in (*SPECS, SpikeSpec(learned_step_weights=True, keep=("up_blocks.0",))):
        snn = SpikingUNet2DModel.from_unet(unet, spec)
        assert snn.own_parameters() == set(snn.state_dict()) - set(unet.state_dict())
        weights = snn.ann_state_dict()
        assert list(weights) == [name for name in snn.state_dict() if name in unet.state_dict()]
        assert weights["conv_in.weight"].data_ptr() == snn.conv_in.weight.data_ptr()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (torch.tensor([0, 49, 50, 999]), [0, 0, 1, 2]),
        (torch.tensor([0.01, 49.9, 50.0, 1348.0]), [0, 0, 1, 2]),
        (torch.tensor([-1553.6, -0.5, 50.0, 1095.5], dtype=torch.float64), [0, 0, 1, 2]),
    ],
)
def test_segments_are_of_what_the_network_is_told(unet: UNet2DModel, told: Tensor, expected: list[int]) -> None:
    first = min(0.0, float(told[0]))
    spiking = SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(first, 50, 299.5)))
    assert spiking.segment_of(told).tolist() == expected
