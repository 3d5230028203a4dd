import torch
from diffusers import UNet2DModel

from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.element_wise import work_of
from ann2snn_diffusion.evaluation.network_layout import layout_of
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel


def test_values_between_synapses_are_counted_as_by_hand(unet: UNet2DModel) -> None:
    state = NoisyStates(torch.randn(1, 1, 8, 8), torch.tensor([500]), None)
    found = layout_of(SpikingUNet2DModel.from_unet(unet, SpikeSpec()), state).element_wise
    values = {work.kind: work.values for work in found}
    # Outputs of resnets: down 8·64, 16·16; mid twice 16·16; up twice 16·16, twice 8·64.
    resnets = 8 * 64 + 16 * 16 + 2 * 16 * 16 + 2 * 16 * 16 + 2 * 8 * 64
    attentions = 4 * 16 * 16
    assert values["residual sums"] == 2 * resnets + attentions
    assert values["softmax"] == 4 * 2 * 16 * 16
    first_norms = 8 * 64 + 8 * 16 + 2 * 16 * 16 + (32 + 24) * 16 + (24 + 16) * 64
    assert values["norms"] == first_norms + resnets + attentions + 8 * 64
    # Of the time embedding: once in itself, once in each of eight resnets.
    assert values["activations"] == first_norms + resnets + 8 * 64 + 9 * 32


def test_each_kind_has_its_price_in_operations() -> None:
    work = {one.kind: (one.multiply_accumulates, one.accumulates) for one in work_of({"norms": 10, "softmax": 3})}
    assert work == {"norms": (20, 10), "activations": (0, 0), "softmax": (6, 6), "residual sums": (0, 0)}
