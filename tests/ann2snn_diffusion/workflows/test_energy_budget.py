from typing import Any

import pytest
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.common.progress import silent
from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec
from ann2snn_diffusion.models.loading import Source
from ann2snn_diffusion.spiking.calibration_spec import ENERGY, CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.workflows.conversion_settings import Settings
from ann2snn_diffusion.workflows.convert import Conversion, convert, recorded

STATES = FidelitySpec(4, 6)


def converted(unet: UNet2DModel, energy: float, spec: SpikeSpec | None = None, seed: int = 0) -> Conversion:
    calibration = CalibrationSpec(energy=energy, states=88, positions=256, sampler_steps=6, seed=seed)
    return convert(unet, DDPMScheduler(), spec=spec, calibration=calibration, fidelity=STATES)


@pytest.mark.slow
@pytest.mark.parametrize("energy", [0.15, 0.25, 0.4])
def test_the_energy_is_met_on_states_that_it_never_saw(unet: UNet2DModel, energy: float) -> None:
    assert converted(unet, energy).report.figures()["energy_share"] == pytest.approx(energy, rel=0.03)


@pytest.mark.slow
def test_at_less_energy_than_least_squares_spends_the_error_is_smaller(unet: UNet2DModel) -> None:
    quick = CalibrationSpec(energy=0, states=88, positions=256, sampler_steps=6)
    plain = convert(unet, DDPMScheduler(), calibration=quick, fidelity=STATES).report
    frugal = converted(unet, 0.25).report
    assert frugal.figures()["energy_share"] < 0.8 * plain.figures()["energy_share"]
    assert frugal.epsilon_error < 0.5 * plain.epsilon_error


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        SpikeSpec(coding="ternary"),
        SpikeSpec(coding="rate", schedule="synchronous", segments=(0, 300)),
        SpikeSpec(signed_activations=False),
    ],
    ids=lambda spec: f"{spec.coding} {spec.schedule} {spec.signed_activations}",
)
def test_every_coding_meets_its_energy(unet: UNet2DModel, spec: SpikeSpec) -> None:
    assert converted(unet, 0.3, spec).report.figures()["energy_share"] == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(("states", "own"), [(22, False), (88, True)])
def test_where_calibration_sees_few_states_others_tell_what_a_price_spends(
    unet: UNet2DModel, states: int, own: bool
) -> None:
    source = Source(unet, DDPMScheduler(), "tiny")  # pyright: ignore[reportArgumentType]
    calibration = CalibrationSpec(energy=0.25, states=states, positions=64, sampler_steps=3)
    settings = Settings.of(None, calibration, unet, source.scheduler)
    plan = recorded(source, settings, None, silent).plan
    assert all((rows is plan.values[site].rows) == own for site, rows in plan.judged.items())


def test_an_energy_below_what_stays_analog_is_refused_with_that_figure(unet: UNet2DModel) -> None:
    with pytest.raises(SpecError, match=r"energy = 0.0001: expected more than 0\.\d+, which .* analog"):
        converted(unet, 0.0001)


def test_too_few_states_are_refused_with_the_segment_that_has_none(unet: UNet2DModel) -> None:
    calibration = CalibrationSpec(energy=0.2, states=5, positions=64, sampler_steps=3)
    with pytest.raises(SpecError, match="states = 5: expected more, so that the noise segment from"):
        convert(unet, DDPMScheduler(), calibration=calibration, fidelity=STATES)


@pytest.mark.parametrize(
    ("spec", "calibration", "energy"),
    [
        ({}, {}, ENERGY),
        ({}, {"energy": 0.4}, 0.4),
        ({}, {"energy": 0}, 0),
        ({}, {"method": "max"}, 0),
        ({}, {"per": "tensor"}, 0),
        ({"sparse": False}, {}, 0),
        ({"coding": "rate"}, {}, 0),
        ({"coding": "rate"}, {"energy": 0.3}, 0.3),
    ],
)
def test_a_budget_is_the_default_where_the_front_is_known(
    unet: UNet2DModel, spec: dict[str, Any], calibration: dict[str, Any], energy: float
) -> None:
    settings = Settings.of(SpikeSpec(**spec), CalibrationSpec(**calibration), unet, DDPMScheduler())
    assert settings.calibration.energy == energy
    assert settings.spec.dead_zone == bool(energy)
    assert settings.spec.doubled == (("*",) if energy else ())
    assert Settings.of(settings.spec, settings.calibration, unet, DDPMScheduler()) == settings


def test_a_dead_zone_is_the_default_beside_an_energy_and_can_be_refused(unet: UNet2DModel) -> None:
    asked = CalibrationSpec(energy=0.3)
    assert Settings.of(SpikeSpec(), asked, unet, DDPMScheduler()).spec.dead_zone is True
    assert Settings.of(SpikeSpec(dead_zone=False), asked, unet, DDPMScheduler()).spec.dead_zone is False
    assert Settings.of(SpikeSpec(), CalibrationSpec(energy=0), unet, DDPMScheduler()).spec.dead_zone is False


@pytest.mark.slow
def test_where_all_digits_are_in_use_it_spends_less_and_is_not_calibrated_again(unet: UNet2DModel) -> None:
    few = SpikeSpec(time_steps=2, segments=(0,), doubled=("conv_out",))
    assert converted(unet, 1.0, few).report.figures()["energy_share"] < 0.9


@pytest.mark.parametrize("values", [{"method": "max"}, {"per": "tensor"}])
def test_a_budget_goes_with_least_error_alone(values: dict[str, str]) -> None:
    with pytest.raises(SpecError, match=r"energy = 0\.2: expected none beside"):
        CalibrationSpec(energy=0.2, **values)  # pyright: ignore[reportArgumentType]
