import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.cost_tables import TABLES
from ann2snn_diffusion.evaluation.costs import Costs, costs_of
from ann2snn_diffusion.evaluation.costs_json import costs_to_dict
from ann2snn_diffusion.evaluation.network_layout import layout_of
from ann2snn_diffusion.evaluation.noise_strata import STRATUM_STARTS, state_weights
from ann2snn_diffusion.evaluation.spike_count import Counts, count_spikes
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

BOUNDS = (*STRATUM_STARTS, 1000)
EVERY_STRATUM = torch.tensor([start + 3 for start in STRATUM_STARTS])
STATES = NoisyStates(
    torch.randn(14, 1, 8, 8, generator=torch.Generator().manual_seed(0)), EVERY_STRATUM, None
)  # fmt: skip


def counted(unet: UNet2DModel, **spec: Any) -> tuple[Costs, Counts]:
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec(**spec))
    layout = layout_of(snn, STATES.part(slice(1)))
    counts = count_spikes(snn, layout, STATES)
    return costs_of(layout, counts, {}, EVERY_STRATUM, BOUNDS, sampler_steps=25), counts


def test_states_weigh_as_a_uniform_sampler_visits_their_stratum() -> None:
    weights = state_weights(torch.tensor([5, *EVERY_STRATUM.tolist()]), BOUNDS)
    assert weights.sum().item() == pytest.approx(1)
    assert weights[:2].tolist() == pytest.approx([0.005, 0.005])
    assert weights[-1].item() == pytest.approx(0.1)
    assert state_weights(torch.tensor([3, 12, 30]), (0, 10, 25, 40)).tolist() == pytest.approx([0.25, 0.375, 0.375])


def test_shares_are_the_sums_over_synapses_by_hand(unet: UNet2DModel) -> None:
    costs, counts = counted(unet)
    weights = state_weights(EVERY_STRATUM, BOUNDS)
    accumulates = sum((weights @ one).item() for one in counts.accumulates.values())
    assert costs.accumulates == pytest.approx(accumulates)
    analog = 8 * 64 * 9 + 8 * 32 + 32 * 32 + 32 * (3 * 8 + 5 * 16) + 64 * 9
    assert costs.multiply_accumulates == analog
    dense = sum(one.operations for one in costs.synapses if one.name != "conv_out.image")
    assert costs.ann_multiply_accumulates == dense
    assert costs.energy("horowitz-45nm").share == pytest.approx((0.9 * accumulates + 4.6 * analog) / (4.6 * dense))
    assert costs.energy("int8").share == pytest.approx((0.03 * accumulates + 0.23 * analog) / (0.23 * dense))


def test_every_operation_that_spikes_drive_is_of_a_site(unet: UNet2DModel) -> None:
    costs, _ = counted(unet)
    driven = [one.operations for one in costs.synapses if one.driven_by == "spikes"]
    assert sum(site.operations for site in costs.sites) == pytest.approx(sum(driven))
    tokens = next(site for site in costs.sites if site.name.endswith(".tokens"))
    projections = [one for one in costs.synapses if one.name.startswith(tokens.name.split(".processor")[0] + ".to_")]
    assert tokens.operations == sum(one.operations for one in projections if not one.name.endswith("to_out.0"))


def test_layers_and_element_wise_work_add_up_to_the_whole(unet: UNet2DModel) -> None:
    costs, _ = counted(unet, coding="rate", schedule="synchronous")
    table, whole = TABLES["horowitz-45nm"], costs.energy()
    layers = costs.layers(table).values()
    assert sum(one.snn.synapses for one in layers) == pytest.approx(whole.snn.synapses)
    assert sum(one.snn.memory for one in layers) == pytest.approx(whole.snn.memory)
    between = sum(4.6 * work.multiply_accumulates + 0.9 * work.accumulates for work in costs.element_wise)
    assert whole.ann.element_wise == pytest.approx(between)
    neurons = sum(one.snn.element_wise for one in layers)
    assert whole.snn.element_wise == pytest.approx(neurons + 4 * between)


def test_spikes_per_neuron_are_weighted_over_strata_time_steps_and_trains_alike(unet: UNet2DModel) -> None:
    costs, counts = counted(unet, doubled=("conv_out",))
    widths = torch.tensor([*STRATUM_STARTS, 1000]).diff() / 1000
    for site in costs.sites:
        assert site.spikes_per_neuron == pytest.approx((torch.tensor(site.by_stratum) @ widths).item(), rel=1e-5)
        assert site.spikes_per_neuron == pytest.approx(sum(k * share for k, share in enumerate(site.trains)))
        assert sum(site.trains) == pytest.approx(1)
        assert len(site.by_time_step) == 4
    spikes = sum((one.sum(0) @ state_weights(EVERY_STRATUM, BOUNDS)).item() for one in counts.spikes.values())
    neurons = sum(site.neurons for site in costs.sites)
    assert costs.spikes == pytest.approx(spikes)
    assert costs.spikes_per_neuron == pytest.approx(spikes / neurons)
    assert costs.activation_sparsity == pytest.approx(1 - spikes / (4 * neurons + 4 * 8 * 64))
    received = sum(one.spikes for one in costs.synapses)
    assert received == pytest.approx(spikes)


def test_layers_that_share_neurons_share_their_spikes(unet: UNet2DModel) -> None:
    costs, _ = counted(unet)
    shared = [
        one for one in costs.synapses if one.name.startswith("mid_block.attentions.0.to_") and one.name[-1] in "qkv"
    ]
    tokens = next(site for site in costs.sites if site.name == "mid_block.attentions.0.processor.tokens")
    assert sum(one.neurons for one in shared) == pytest.approx(tokens.neurons)
    assert all(one.spikes_per_neuron == pytest.approx(tokens.spikes_per_neuron) for one in shared)


def test_json_has_the_totals_and_the_same_by_layer(unet: UNet2DModel) -> None:
    costs, _ = counted(unet)
    content = json.loads(json.dumps(costs_to_dict(costs, TABLES["int8"]), allow_nan=False))
    names = {"accumulates", "multiply_accumulates", "energy_pj", "ann_energy_pj", "energy_share", "energy_share_all",
             "energy_share_memory", "spikes_per_neuron"}  # fmt: skip
    assert names <= content["totals"].keys()
    assert all(names <= layer.keys() for layer in content["layers"].values())
    assert content["totals"]["energy_share"] == pytest.approx(costs.energy("int8").share)
    assert sum(layer["energy_pj"] for layer in content["layers"].values()) == pytest.approx(
        content["totals"]["energy_pj"]
    )
    assert content["layers"]["conv_out.image"]["energy_share"] is None
    assert content["totals"]["energy_pj_per_image"] == pytest.approx(25 * content["totals"]["energy_pj"])
    assert content["totals"]["neurobench"]["Effective_ACs"] == pytest.approx(costs.accumulates)


def test_a_network_of_other_noise_levels_is_counted_on_the_strata_that_it_has(
    make_unet: Callable[..., UNet2DModel],
) -> None:
    from ann2snn_diffusion.evaluation.fidelity import FidelitySpec, measure_fidelity

    snn = SpikingUNet2DModel.from_unet(make_unet(), SpikeSpec(segments=(0, 30)))
    report = measure_fidelity(snn, DDPMScheduler(num_train_timesteps=60), spec=FidelitySpec(2, 3))
    strata = report.costs.strata
    assert strata == tuple(stratum.start for stratum in report.strata)
    assert strata[:2] == (0, 3)  # β grows 17 times as fast as in 1000 steps
    assert all(len(site.by_stratum) == len(strata) for site in report.costs.sites)
    assert report.costs.sampler_steps == 3
