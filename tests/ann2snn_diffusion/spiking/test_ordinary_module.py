"""What any diffusers U-Net can do; copies are in test_unet, replicas and compilation in test_unet_passes."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

LAYERWISE = SpikeSpec(segments=(0, 500), dead_zone=True, time_steps=2)
SYNCHRONOUS = SpikeSpec(coding="rate", schedule="synchronous", time_steps=2)
TIMESTEPS = torch.tensor([5, 300, 950])


def network_of(unet: UNet2DModel, spec: SpikeSpec) -> SpikingUNet2DModel:
    """A network whose noise segments differ, in thresholds and in what the output adds."""
    snn = SpikingUNet2DModel.from_unet(unet, spec)
    for name, parameter in snn.named_parameters():
        if name.endswith("threshold") or name.startswith("conv_out.weight_correction"):
            parameter.data += torch.linspace(0, 1, parameter.numel()).view_as(parameter)
    return snn.eval()


@pytest.fixture(params=[LAYERWISE, SYNCHRONOUS], ids=lambda spec: spec.schedule)
def snn(unet: UNet2DModel, request: pytest.FixtureRequest) -> SpikingUNet2DModel:
    return network_of(unet, request.param)


@pytest.fixture
def sample() -> Tensor:
    return torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_in_channels_last_it_gives_the_same(snn: SpikingUNet2DModel, sample: Tensor) -> None:
    expected = snn(sample, TIMESTEPS).sample
    before = {name: tensor.clone() for name, tensor in snn.state_dict().items()}
    nn.Module.to(snn, memory_format=torch.channels_last)
    assert snn.state_dict()["conv_out.weight_correction"].flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(tensor, before[name]) for name, tensor in snn.state_dict().items())
    found = snn(sample.contiguous(memory_format=torch.channels_last), TIMESTEPS).sample
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_what_loading_found_is_handed_over_where_it_is_asked_for(
    snn: SpikingUNet2DModel, sample: Tensor, tmp_path: Path
) -> None:
    snn.save_pretrained(tmp_path)
    loaded, info = SpikingUNet2DModel.from_pretrained(tmp_path, output_loading_info=True)
    plain = SpikingUNet2DModel.from_pretrained(tmp_path, output_loading_info=False)
    assert set(info) >= {"missing_keys", "unexpected_keys", "mismatched_keys"}
    assert not any(info.values())
    for network in (loaded, plain):
        assert torch.equal(network(sample, TIMESTEPS).sample, snn(sample, TIMESTEPS).sample)


@torch.no_grad()
def test_a_pickled_network_gives_the_same(snn: SpikingUNet2DModel, sample: Tensor) -> None:
    twin = pickle.loads(pickle.dumps(snn))
    assert torch.equal(twin(sample, TIMESTEPS).sample, snn(sample, TIMESTEPS).sample)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_in_is_half_out(snn: SpikingUNet2DModel, sample: Tensor, tmp_path: Path, dtype: torch.dtype) -> None:
    expected = snn(sample, TIMESTEPS).sample
    snn.save_pretrained(tmp_path)
    cast = SpikingUNet2DModel.from_pretrained(tmp_path, torch_dtype=dtype)
    for network in (cast, nn.Module.to(snn, dtype)):
        assert {parameter.dtype for parameter in network.parameters()} == {dtype}
        found = network(sample.to(dtype), TIMESTEPS).sample
        assert found.dtype == dtype
        # A level that flips moves all that comes after it: only the bulk is the same.
        assert (found - expected).square().mean() < 0.2 * expected.square().mean()


@pytest.mark.slow
@pytest.mark.parametrize("spec", [LAYERWISE, SYNCHRONOUS], ids=lambda spec: spec.schedule)
@torch.no_grad()
def test_an_exported_program_takes_any_batch(
    make_unet: Callable[..., UNet2DModel], spec: SpikeSpec, sample: Tensor
) -> None:
    small = make_unet(
        block_out_channels=(8,), down_block_types=("AttnDownBlock2D",), up_block_types=("UpBlock2D",),
        mid_block_type=None,
    )  # fmt: skip
    snn = network_of(small, spec)
    batch = torch.export.Dim("batch", min=1, max=31)  # diffusers itself takes another way from 64 rows on
    rows = {"sample": {0: batch}, "timestep": {0: batch}}
    program = torch.export.export(snn, (sample, TIMESTEPS), dynamic_shapes=rows).module()
    for count in (1, 5):
        state, timesteps = torch.randn(count, 1, 8, 8), torch.randint(1000, (count,))
        assert torch.equal(program(state, timesteps).sample, snn(state, timesteps).sample)


@torch.no_grad()
def test_one_diffusion_timestep_gives_what_it_gives_for_every_row(snn: SpikingUNet2DModel, sample: Tensor) -> None:
    for timestep in (5, 950):
        each = snn(sample, torch.full((3,), timestep)).sample
        torch.testing.assert_close(snn(sample, timestep).sample, each, rtol=1e-4, atol=1e-5)
        snn.guidance = {"segment.500": 1.3} if 500 in snn.spec.segments else 1.3
