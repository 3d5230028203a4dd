from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.diffusion.noise_schedule import noise_schedule
from ann2snn_diffusion.diffusion.noisy_states import spread_over
from ann2snn_diffusion.diffusion.trajectories import record
from ann2snn_diffusion.spiking.ann_outputs import seen_states
from ann2snn_diffusion.spiking.calibrate import calibrate
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from tests.two_processes import python

SYNCHRONOUS = {"coding": "rate", "schedule": "synchronous"}


def states_of(unet: UNet2DModel, seed: int, count: int = 56) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    trajectories = record(unet, DDPMScheduler(), 8, 4, generator)
    diffusion_timesteps = spread_over(
        tuple(noise_schedule(DDPMScheduler()).starts(SpikeSpec().segments)), 1000, count, generator
    )
    return trajectories.states(torch.arange(count) % 8, diffusion_timesteps).states, diffusion_timesteps


def calibrated(
    spiking: SpikingUNet2DModel, unet: UNet2DModel, calibration: CalibrationSpec, seed: int = 0, at_a_time: int = 16
) -> SpikingUNet2DModel:
    generator = torch.Generator().manual_seed(seed)
    seen = seen_states(spiking, (*states_of(unet, 0), None), calibration, generator, at_a_time)
    calibrate(spiking, seen, calibration, generator)
    return spiking


def error_of(unet: UNet2DModel, spec: dict[str, Any], calibration: CalibrationSpec) -> float:
    """Relative ε error on states that calibration did not see."""
    spiking = SpikingUNet2DModel.from_unet(unet, SpikeSpec(**spec))
    calibrated(spiking, unet, calibration)
    with torch.no_grad():
        state, diffusion_timesteps = states_of(unet, 1)
        expected = unet(state, diffusion_timesteps).sample
        return ((spiking(state, diffusion_timesteps).sample - expected).square().sum() / expected.square().sum()).item()


@pytest.mark.slow
@pytest.mark.parametrize("spec", [{}, {"coding": "ternary"}, {"coding": "rate"}, SYNCHRONOUS], ids=str)
def test_error_falls_as_the_time_steps_grow(unet: UNet2DModel, spec: dict[str, Any]) -> None:
    errors = [error_of(unet, spec | {"time_steps": time_steps}, CalibrationSpec()) for time_steps in (1, 2, 4, 8)]
    assert errors == sorted(errors, reverse=True), errors
    assert errors[-1] < 0.3 * errors[0]


def test_the_default_beats_the_baselines(unet: UNet2DModel) -> None:
    ours = error_of(unet, {}, CalibrationSpec())
    for baseline in ({"method": "max"}, {"method": "percentile"}):
        assert ours < 0.5 * error_of(unet, {}, CalibrationSpec(**baseline, per="tensor", correction=0))  # pyright: ignore


def test_correction_undoes_a_systematic_loss(unet: UNet2DModel) -> None:
    # One level for each sign: neurons lose amplitude, and losing it is what a linear correction can undo.
    coarse = {"time_steps": 1, "coding": "radix"}
    wide = CalibrationSpec(method="max"), CalibrationSpec(method="max", correction=0)
    assert error_of(unet, coarse, wide[0]) < 0.9 * error_of(unet, coarse, wide[1])


def test_the_image_beside_the_spikes_spares_it_their_rounding(unet: UNet2DModel) -> None:
    # A network that hands its input on, as trained ones nearly do at high noise: silu(x) − silu(−x) = x.
    signs = torch.tensor([1.0, -1.0] * 4)
    last: Any = unet.up_blocks[-1].resnets[-1]  # pyright: ignore[reportIndexIssue]
    layers: list[Any] = [unet.conv_in, last.conv2, last.conv_shortcut, unet.conv_norm_out, unet.conv_out]
    with torch.no_grad():
        for layer in layers:
            layer.weight.zero_()
            layer.bias.zero_()
        unet.conv_in.weight[:, 0, 1, 1] = signs
        last.conv_shortcut.weight[:, -8:, 0, 0] = torch.eye(8)
        layers[3].weight.fill_(1)
        layers[4].weight[0, :, 1, 1] = signs
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec(time_steps=2))
    calibrated(snn, unet, CalibrationSpec())
    errors = []
    with torch.no_grad():
        state, diffusion_timesteps = states_of(unet, 1)
        for _ in range(2):
            errors.append((snn(state, diffusion_timesteps).sample - unet(state, diffusion_timesteps).sample).norm())
            for name, parameter in snn.conv_out.named_parameters():
                if name.endswith("correction"):
                    parameter.zero_()
    assert errors[0] < 0.7 * errors[1], errors


def test_the_same_seed_gives_the_same_network(unet: UNet2DModel) -> None:
    twins = []
    for _ in range(2):
        spiking = SpikingUNet2DModel.from_unet(unet, SpikeSpec())
        calibrated(spiking, unet, CalibrationSpec(), seed=5)
        twins.append(spiking.state_dict())
    assert all(torch.equal(twins[0][name], twins[1][name]) for name in twins[0])


def test_how_many_states_pass_the_ann_together_changes_no_more_than_a_rounding(unet: UNet2DModel) -> None:
    spiking, batch = SpikingUNet2DModel.from_unet(unet, SpikeSpec()), (*states_of(unet, 0), None)
    few, many = (
        seen_states(spiking, batch, CalibrationSpec(), torch.Generator().manual_seed(5), size).targets
        for size in (3, 56)
    )
    assert few.keys() == many.keys() == spiking.synapses().keys()
    for name, targets in few.items():
        for one, other in zip(targets, many[name], strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert torch.equal(one.places.all, other.places.all)
                torch.testing.assert_close(one.output, other.output, rtol=1 / 128, atol=1e-4, msg=name)


def test_what_is_kept_of_the_ann_is_what_it_gives_there(unet: UNet2DModel) -> None:
    spiking = SpikingUNet2DModel.from_unet(unet, SpikeSpec())
    states, diffusion_timesteps = states_of(unet, 0)
    given: list[Tensor] = []
    hook = unet.conv_out.register_forward_hook(lambda _layer, _input, output: given.append(torch.as_tensor(output)))
    with torch.no_grad():
        unet(states, diffusion_timesteps)
    hook.remove()
    seen = seen_states(spiking, (states, diffusion_timesteps, None), CalibrationSpec(), torch.Generator(), 5)
    for rows, target in zip(seen.by_segment(), seen.targets["conv_out"], strict=True):
        assert target is not None
        expected = given[0][rows].permute(0, 2, 3, 1).flatten(0, 2)[target.places.all]
        torch.testing.assert_close(target.output.float(), expected, rtol=1 / 256, atol=1e-5)


def test_a_synapse_of_which_too_few_outputs_were_seen_stays_as_it_is(unet: UNet2DModel) -> None:
    spiking = SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(0,)))
    states = tuple(part[:2] for part in states_of(unet, 0))
    seen = seen_states(spiking, (*states, None), CalibrationSpec(), torch.Generator(), 16)  # pyright: ignore
    calibrate(spiking, seen, CalibrationSpec(), torch.Generator())
    corrected = {name for name, layer in spiking.synapses().items() if layer.weight_correction.any()}
    assert "mid_block.resnets.0.conv1" not in corrected
    with torch.no_grad():
        assert torch.isfinite(spiking(*states).sample).all()


@torch.no_grad()
def test_the_ann_s_weights_stay_and_analog_mode_is_bitwise_the_ann(unet: UNet2DModel) -> None:
    spiking = SpikingUNet2DModel.from_unet(unet, SpikeSpec())
    calibrated(spiking, unet, CalibrationSpec())
    after = spiking.state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in unet.state_dict().items())
    sample, diffusion_timestep = torch.randn(3, 1, 8, 8), torch.tensor([0, 40, 900])
    with analog(spiking):
        assert torch.equal(spiking(sample, diffusion_timestep).sample, unet(sample, diffusion_timestep).sample)


def test_driven_layers_are_corrected_only_where_asked(unet: UNet2DModel) -> None:
    corrected = {}
    for strength in (0, 1e-3):
        spiking = SpikingUNet2DModel.from_unet(unet, SpikeSpec(time_steps=1))
        calibrated(spiking, unet, CalibrationSpec(method="max", correction=strength))
        corrected[strength] = {name for name, layer in spiking.synapses().items() if layer.weight_correction.any()}
    assert not corrected[0]
    assert "conv_out" in corrected[1e-3]


def test_every_site_and_segment_is_set(unet: UNet2DModel) -> None:
    spiking = SpikingUNet2DModel.from_unet(unet, SpikeSpec())
    visited: list[None] = []
    seen = seen_states(spiking, (*states_of(unet, 0), None), CalibrationSpec(), torch.Generator(), 16)
    calibrate(
        spiking, seen, CalibrationSpec(), torch.Generator(),
        advance=lambda done=None, figures=None: visited.append(None),
    )  # fmt: skip
    assert len(visited) == len(spiking.neurons())
    for name, neuron in spiking.neurons().items():
        assert (neuron.threshold != 1).all(), name
        assert (neuron.threshold > 0).all(), name


def test_one_threshold_per_tensor_where_asked(unet: UNet2DModel) -> None:
    spiking = SpikingUNet2DModel.from_unet(unet, SpikeSpec())
    calibrated(spiking, unet, CalibrationSpec(per="tensor", method="max"))
    neuron = spiking.get_submodule("conv_out.neuron")
    assert isinstance(neuron, SpikingNeuron)
    assert all(len(row.unique()) == 1 for row in neuron.threshold)


def test_a_segment_without_states_is_refused(unet: UNet2DModel) -> None:
    spiking = SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(0, 400)))
    with pytest.raises(SpecError, match="from diffusion timestep 400"):
        seen_states(
            spiking, (torch.randn(2, 1, 8, 8), torch.tensor([1, 2]), None), CalibrationSpec(), torch.Generator(), 16
        )


@pytest.mark.parametrize(
    "values", [{"method": "magic"}, {"states": 0}, {"correction": -1}, {"percentile": 101}, {"per": "pixel"}], ids=str
)
def test_an_impossible_calibration_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=f"{next(iter(values))} = "):
        CalibrationSpec(**values)


TOGETHER = """
import torch
from accelerate import PartialState
from tests.ann2snn_diffusion.spiking.test_calibrate import states_of
from tests.conftest import build_unet
from ann2snn_diffusion.common.shares import ALONE, Shares
from ann2snn_diffusion.spiking.ann_outputs import rows_of_batch, seen_states
from ann2snn_diffusion.spiking.calibrate import calibrate
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

process, every_value = PartialState(cpu=True), CalibrationSpec(positions=100_000)

def calibrated(shares):
    unet = build_unet()
    spiking = SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(0, 300)))
    own = rows_of_batch((*states_of(unet, 0, 64), None), shares.own(64))
    seen = seen_states(spiking, own, every_value, torch.Generator(), 16, shares=shares)
    calibrate(spiking, seen, every_value, torch.Generator())
    return spiking.state_dict()

alone, together = calibrated(ALONE), calibrated(Shares(process))
# Further on, what is judged at other held-out places may be judged otherwise.
first = [name for name in alone if name.startswith("down_blocks.0.")]
for name in first:
    torch.testing.assert_close(together[name], alone[name], rtol=1e-3, atol=1e-3)
assert any(together[name].any() for name in first if "correction" in name)
process.destroy_process_group()
"""


@pytest.mark.slow
def test_processes_that_share_the_states_calibrate_as_one_that_has_all() -> None:
    python("-c", TOGETHER, processes=2)  # fails where one of them does
