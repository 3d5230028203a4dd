from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.evaluation.cost_tables import CostTableError, cost_table
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec, measure_fidelity
from ann2snn_diffusion.evaluation.network_layout import layout_of
from ann2snn_diffusion.evaluation.spike_count import count_spikes
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.energy import EnergyBudget, budget_of
from ann2snn_diffusion.training.loop import Lesson, train
from ann2snn_diffusion.training.run import TrainingRun
from ann2snn_diffusion.training.spec import TrainingSpec
from ann2snn_diffusion.workflows.convert import convert

QUICK = CalibrationSpec(energy=0, states=14, positions=64, sampler_steps=3)
KINDS: list[dict[str, Any]] = [{}, {"dead_zone": False}, {"signed_activations": False}, {"coding": "rate"}]
FRUGAL: dict[str, Any] = {"segments": (0,), "dead_zone": True, "doubled": ("*",)}


def converted(unet: UNet2DModel, **spec: Any) -> SpikingUNet2DModel:
    return convert(unet, DDPMScheduler(), spec=SpikeSpec(**FRUGAL | spec), calibration=QUICK).unet


def states(count: int) -> NoisyStates:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(count, 1, 8, 8, generator=generator)
    return NoisyStates(noise, torch.arange(count) * 1000 // count, None)


def spent(snn: SpikingUNet2DModel, budget: EnergyBudget, batch: NoisyStates) -> torch.Tensor:
    with budget.listening(snn) as costs:
        snn(*batch.arguments())
    return budget.spent(costs).mean()


@pytest.mark.parametrize("costs", ["horowitz-45nm", "int8-int32"])
@pytest.mark.parametrize("spec", KINDS, ids=str)
def test_what_a_batch_spends_is_what_the_counter_counts(unet: UNet2DModel, spec: dict[str, Any], costs: str) -> None:
    snn, batch, table = converted(unet, **spec), states(10), cost_table(costs)
    layout = layout_of(snn, batch.part(slice(1)))
    accumulates = sum(found.mean().item() for found in count_spikes(snn, layout, batch).accumulates.values())
    ann = sum(synapse.operations for synapse in layout.synapses if synapse.in_ann)
    analog = sum(synapse.operations for synapse in layout.synapses if not synapse.fan_out)
    share = (table.accumulate * accumulates + table.multiply_accumulate * analog) / (table.multiply_accumulate * ann)
    with torch.no_grad():
        found = spent(snn, EnergyBudget(snn, DDPMScheduler(), 0.2, costs), batch)
    assert found.item() == pytest.approx(share, rel=1e-5)


def test_down_its_gradient_a_network_spends_less(unet: UNet2DModel) -> None:
    snn, batch = converted(unet), states(10)
    budget = EnergyBudget(snn, DDPMScheduler(), 0.2, "horowitz-45nm")
    before = spent(snn, budget, batch)
    before.backward()
    for neuron in snn.neurons().values():
        for part in (neuron.threshold, neuron.offset):
            assert part.grad is not None
        neuron.threshold.data *= 1 - 0.02 * neuron.threshold.grad.sign()  # pyright: ignore[reportOptionalMemberAccess]
    assert spent(snn, budget, batch) < before


def test_price_and_thresholds_rise_while_too_much_is_spent_and_fall_while_too_little_is(unet: UNet2DModel) -> None:
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(0,)))
    budget, threshold = (
        EnergyBudget(snn, DDPMScheduler(), 0.2, "horowitz-45nm"),
        snn.neurons()["conv_out.neuron"].threshold,
    )
    first, weight, timesteps = threshold.clone(), budget.weight.item(), torch.tensor([0, 300, 600, 900])
    budget.steer(torch.full((4,), 0.22), timesteps)
    assert budget.weight > weight
    assert (threshold > first).all()
    for _ in range(40):
        budget.steer(torch.full((4,), 0.1), timesteps)
    assert budget.weight < weight
    assert (threshold < first).all()


def test_what_is_spent_is_told_from_which_noise_levels_a_batch_happens_to_have(unet: UNet2DModel) -> None:
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(0,)))
    budget = EnergyBudget(snn, DDPMScheduler(), 0.3 * 0.4 + 0.7 * 0.1, "horowitz-45nm")
    threshold, timesteps = snn.neurons()["conv_out.neuron"].threshold, torch.arange(0, 1000, 5)

    def spend(timesteps: torch.Tensor) -> None:
        budget.steer(torch.where(timesteps < 300, 0.4, 0.1), timesteps)

    for _ in range(50):
        spend(timesteps)
    settled, weight = threshold.clone(), budget.weight.item()
    for some in (timesteps[:40], timesteps[-40:]):
        spend(some)
    torch.testing.assert_close(threshold, settled, rtol=1e-3, atol=0)
    assert budget.weight == pytest.approx(weight, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.7, 1.2])
def test_a_training_ends_at_its_budget_below_or_above_what_it_spent(
    unet: UNet2DModel, scheduler: DDPMScheduler, share: float
) -> None:
    snn = converted(unet)
    for neuron in snn.neurons().values():
        neuron.threshold.data *= 8
    measured = FidelitySpec(states_per_stratum=4, sampler_steps=6)
    energy = share * measure_fidelity(snn, scheduler, spec=measured).figures()["energy_share"]
    spec = TrainingSpec(
        steps=80, train_batch_size=8, sampler_steps=6, lr_warmup_steps=5, learning_rate=1e-4, energy=energy,
        save_images_steps=0,
    )  # fmt: skip
    train(snn, Lesson(snn.ann(), scheduler), spec, TrainingRun(Accelerator(cpu=True)))
    assert measure_fidelity(snn, scheduler, spec=measured).figures()["energy_share"] == pytest.approx(energy, rel=0.03)


def test_without_an_energy_there_is_no_budget(make_unet: Callable[..., UNet2DModel], scheduler: DDPMScheduler) -> None:
    assert budget_of(SpikingUNet2DModel.from_unet(make_unet(), SpikeSpec()), scheduler, TrainingSpec()) is None


@pytest.mark.parametrize(
    ("spec", "values", "message"),
    [
        ({}, {"energy": 0.0001}, r"energy = 0.0001: expected more than 0\.\d+, which .* analog"),
        ({"coding": "rate", "schedule": "synchronous"}, {"energy": 0.2}, "energy = 0.2: expected none beside the sync"),
        ({"guidance": 1.1}, {"energy": 0.2}, "energy = 0.2: expected none beside threshold guidance"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(
    unet: UNet2DModel, scheduler: DDPMScheduler, spec: dict[str, Any], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        budget_of(SpikingUNet2DModel.from_unet(unet, SpikeSpec(**spec)), scheduler, TrainingSpec(**values))


def test_a_table_of_costs_that_is_none_is_refused(unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
    spec = TrainingSpec(energy=0.2, costs="absent")
    with pytest.raises(CostTableError, match="absent: no such table"):
        budget_of(SpikingUNet2DModel.from_unet(unet, SpikeSpec()), scheduler, spec)
