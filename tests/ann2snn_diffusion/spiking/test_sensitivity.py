from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DModel

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.spiking.sensitivity import WATCHED, measure_sensitivity, passing_values
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration.observe import visiting
from tests.conftest import build_unet

STATES, REPEATS, SIZE = 6, 20, 1e-3


@pytest.fixture
def snn(unet: UNet2DModel) -> SpikingUNet2DModel:
    return SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(0, 300)))


@pytest.fixture
def states(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(STATES, 1, 8, 8, generator=generator)


@pytest.mark.parametrize(
    "site", ["conv_out.neuron", "mid_block.resnets.0.conv1.neuron", "up_blocks.1.resnets.0.conv2.neuron"]
)
def test_a_gain_is_what_white_noise_in_a_channel_moves_the_output_by(
    snn: SpikingUNet2DModel, states: torch.Tensor, generator: torch.Generator, site: str
) -> None:
    timesteps = torch.full((STATES,), 500)
    both = torch.cat([states, states]), torch.cat([torch.zeros_like(timesteps), timesteps]), None
    gains = [
        measure_sensitivity(snn, both, 16, torch.Generator().manual_seed(seed), 32).gain[site][1]
        for seed in range(REPEATS)
    ]

    def disturb(_value: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        disturbance = torch.zeros_like(output)
        disturbance[:, 0] = SIZE * torch.randn(output[:, 0].shape, generator=generator)
        return output + disturbance

    with torch.no_grad(), analog(snn):
        plain = snn(states, timesteps).sample.double()
        moved = []
        for _ in range(REPEATS):
            with visiting(after=[(snn.neurons()[site], disturb)]):
                moved.append((snn(states, timesteps).sample.double() - plain).square().sum((1, 2, 3)).mean() / SIZE**2)
    assert torch.stack(gains).mean(0)[0].item() == pytest.approx(torch.stack(moved).mean().item(), rel=0.2)


def test_values_are_those_that_pass_in_the_ann(snn: SpikingUNet2DModel, states: torch.Tensor) -> None:
    timesteps = torch.tensor([0, 100, 200, 400, 500, 600])
    found = measure_sensitivity(snn, (states, timesteps, None), 16, torch.Generator().manual_seed(0), 32)
    with torch.no_grad(), analog(snn):
        epsilon = snn(states, timesteps).sample
    torch.testing.assert_close(
        found.power, torch.stack([part.square().sum((1, 2, 3)).mean() for part in epsilon.split(3)])
    )
    for sample in found.values.values():
        assert (sample.rows >= sample.low[:, None]).all()
        assert (sample.rows <= sample.high[:, None]).all()


def test_the_same_values_pass_without_a_way_back(snn: SpikingUNet2DModel, states: torch.Tensor) -> None:
    batch = states, torch.tensor([0, 100, 200, 400, 500, 600]), None
    found = measure_sensitivity(snn, batch, 10_000, torch.Generator(), 32).values
    passing = passing_values(snn, batch, 10_000, torch.Generator(), 32)
    for name, sample in found.items():
        torch.testing.assert_close(passing[name].sort(1).values, sample.rows.sort(1).values)


def test_of_a_wide_site_channels_from_end_to_end_are_watched(make_unet: Callable[..., UNet2DModel]) -> None:
    wide = SpikingUNet2DModel.from_unet(
        make_unet(block_out_channels=(48, 48), norm_num_groups=8), SpikeSpec(segments=(0,))
    )
    batch = torch.zeros(1, 1, 8, 8), torch.tensor([500]), None
    found = measure_sensitivity(wide, batch, 16, torch.Generator().manual_seed(0), 32)
    watched = found.watched["conv_out.neuron"]
    assert len(watched.unique()) == WATCHED == found.values["conv_out.neuron"].rows.shape[2]
    assert (watched.min(), watched.max()) == (0, 47)
    assert found.gain["conv_out.neuron"].shape[1] == 48


def test_what_lies_behind_ε_in_the_output_counts_for_nothing(generator: torch.Generator) -> None:
    snn = SpikingUNet2DModel.from_unet(build_unet(in_channels=2, out_channels=2), SpikeSpec(segments=(0,)))
    batch = torch.randn(STATES, 2, 8, 8, generator=generator), torch.full((STATES,), 500), None
    found = []
    for _ in range(2):
        found.append(measure_sensitivity(snn, batch, 16, torch.Generator().manual_seed(0), 32, channels=1))
        with torch.no_grad():
            snn.conv_out.weight[1:] *= 3
    assert torch.equal(found[0].power, found[1].power)
    for name, gain in found[0].gain.items():
        torch.testing.assert_close(found[1].gain[name], gain)


def test_a_segment_without_a_state_is_refused(snn: SpikingUNet2DModel, states: torch.Tensor) -> None:
    with pytest.raises(SpecError, match="the noise segment from diffusion timestep 300"):
        measure_sensitivity(snn, (states, torch.zeros(STATES, dtype=torch.long), None), 16, torch.Generator(), 32)
