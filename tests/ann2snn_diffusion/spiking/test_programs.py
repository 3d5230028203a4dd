"""What programs compute, before they are traced; tracing itself is in workflows/test_export."""

from typing import Any

import pytest
import torch
from diffusers import UNet2DModel

from ann2snn_diffusion.spiking.decoding import activation_of_spikes
from ann2snn_diffusion.spiking.programs import Prediction, SpikeTrains, given, largest_batch, to_export
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from tests.ann2snn_diffusion.spiking.test_folding import SAMPLE, TIMESTEPS, corrected_network

SPECS: dict[str, dict[str, Any]] = {
    "radix": {"doubled": ["*.conv_shortcut"], "dead_zone": True},
    "guided": {"guidance": {"segment.300": 0.9, "stage.up": 1.1}, "segments": [0, 300, 700]},
    "ternary": {"coding": "ternary", "segments": [0, 300]},
    "unsigned": {"signed_activations": False},
    "learned": {"coding": "rate", "learned_step_weights": True},
    "synchronous": {"coding": "rate", "schedule": "synchronous", "doubled": ["conv_out"], "leak": 0.9},
    "synchronous, learned": {
        "coding": "rate", "schedule": "synchronous", "learned_step_weights": True, "segments": [0, 300],
        "doubled": ["*"],
    },
}  # fmt: skip


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@torch.no_grad()
def test_spikes_sum_to_what_a_network_of_sums_hands_on(unet: UNet2DModel, spec: dict[str, Any]) -> None:
    snn = corrected_network(unet, **spec)
    for neuron in snn.neurons().values():
        if neuron.amplitudes is not None:
            neuron.amplitudes.mul_(torch.linspace(0.9, 1.2, len(neuron.amplitudes)))
    found = SpikeTrains(snn)(SAMPLE.double(), TIMESTEPS)
    torch.testing.assert_close(found["prediction"], Prediction(snn)(SAMPLE.double(), TIMESTEPS), rtol=1e-9, atol=1e-9)
    assert found["sites"].keys() == snn.neurons().keys()
    for name, neuron in snn.neurons().items():
        site = {part: tensor.numpy() for part, tensor in found["sites"][name].items()}
        assert site["spikes"].dtype == "int8"
        assert site["spikes"].shape == (len(neuron.weights), *site["activation"].shape)
        assert site["activation"].shape[0] == len(SAMPLE)
        assert {-1 if neuron.signed else 0, 0, 1} >= set(site["spikes"].flatten().tolist())
        amplitudes = None if neuron.amplitudes is None else neuron.amplitudes.tolist()
        decoded = activation_of_spikes(
            site["spikes"], site["threshold"], site["offset"], neuron.weights, amplitudes
        )  # fmt: skip
        assert abs(decoded - site["activation"]).max() < 1e-6 * site["threshold"].max()


@torch.no_grad()
def test_what_is_exported_is_a_folded_copy(unet: UNet2DModel) -> None:
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(0, 500))).half().train()
    before = {name: tensor.clone() for name, tensor in snn.state_dict().items()}
    once = to_export(snn)
    twice = to_export(once)
    assert twice is not once
    for network in (once, twice):
        assert network.folded
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert snn.training
    assert all(torch.equal(before[name], tensor) for name, tensor in snn.state_dict().items())


def test_ticks_share_the_largest_batch(unet: UNet2DModel) -> None:
    synchronous = SpikeSpec(coding="rate", schedule="synchronous")
    assert largest_batch(SpikingUNet2DModel.from_unet(unet, SpikeSpec())) == 63
    assert largest_batch(SpikingUNet2DModel.from_unet(unet, synchronous)) == 15


def test_arguments_that_a_network_does_not_take_are_none_of_its_program() -> None:
    assert list(given((SAMPLE, TIMESTEPS, None))) == ["sample", "timestep"]
    assert list(given((SAMPLE, TIMESTEPS, TIMESTEPS))) == ["sample", "timestep", "class_labels"]
