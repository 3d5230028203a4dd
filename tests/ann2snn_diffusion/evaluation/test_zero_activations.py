import torch
from diffusers import UNet2DModel

from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.network_layout import layout_of
from ann2snn_diffusion.evaluation.zero_activations import ZeroCounter, left_by_int8
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration.observe import visiting
from tests.ann2snn_diffusion.evaluation.brute_force import arriving_at


def test_int8_rounds_to_zero_what_is_less_than_half_a_step_of_its_own_row() -> None:
    row = torch.tensor([127.0, 0.6, -0.6, 0.4, -0.4, 0.0])
    expected = [True, True, True, False, False, False]
    assert left_by_int8(torch.stack([row, row / 1000])).tolist() == [expected, expected]
    assert not left_by_int8(torch.zeros(2, 3)).any()


@torch.no_grad()
def test_skipped_are_the_synapses_of_zeros_and_of_the_padding(unet: UNet2DModel) -> None:
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec())
    states = NoisyStates(torch.randn(2, 1, 8, 8), torch.tensor([20, 900]), None)
    states.states[0, 0, 2:5] = 0
    zeros = ZeroCounter(layout_of(snn, states.part(slice(1))))
    inputs: dict[str, torch.Tensor] = {}
    names = ("conv_in", "up_blocks.1.resnets.0.conv1", "mid_block.attentions.0.to_out.0")
    layers = {name: snn.get_submodule(name) for name in names}
    keeping = [(layer, lambda value, name=name: inputs.update({name: value})) for name, layer in layers.items()]
    with analog(snn), visiting(before=keeping, after=zeros.visits(snn)):
        snn(*states.arguments())
    found = zeros.effective()
    for name, layer in layers.items():
        expected = [arriving_at(layer, left_by_int8(row[None])[0]) for row in inputs[name]]  # pyright: ignore
        assert found[name].tolist() == expected, name
    assert found["conv_in"][0] < found["conv_in"][1]
    assert found["mid_block.attentions.0.q·kᵀ"].le(16 * 16 * 16).all()
