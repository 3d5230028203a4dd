import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import PartialState
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor

from ann2snn_diffusion.data.datasets import RealImages
from ann2snn_diffusion.diffusion.sampling import Drawing, SamplingError, choose_scheduler, sample
from ann2snn_diffusion.evaluation.image_quality import fid
from ann2snn_diffusion.evaluation.noise_strata import STRATUM_STARTS
from ann2snn_diffusion.evaluation.real_data import RealData, bundled_data
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.search import objectives
from ann2snn_diffusion.search.objectives import (
    Objective,
    ObjectiveError,
    Part,
    error_over_strata,
    objective_of,
    require_possible,
    shared,
    states_of,
)
from ann2snn_diffusion.search.spec import SearchSpec
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.workflows.convert import convert


@pytest.fixture(scope="module")
def converted(make_unet: Callable[..., UNet2DModel]) -> Converted:
    """Draws images of the size that the features ``fashion-mnist`` take."""
    unet = make_unet(sample_size=32, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2)
    scheduler, quick = DDPMScheduler(), CalibrationSpec(energy=0, states=28, positions=64, sampler_steps=3)
    return Converted(convert(unet, scheduler, calibration=quick).unet, scheduler, "tiny")  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def real() -> RealData:
    return bundled_data(1, (32, 32))


@pytest.fixture(scope="module")
def images() -> RealImages:
    pixels = torch.randint(256, (24, 3, 32, 32), generator=torch.Generator().manual_seed(5)).to(torch.uint8)
    return RealImages("noise", "none", "digest", len(pixels), lambda index: pixels[index])


def build(
    converted: Converted, part: Part = "searched", data: RealData | RealImages | None = None, **changes: Any
) -> Objective:
    spec, unet, scheduler = spec_of(**changes), converted.unet, converted.scheduler
    require_possible(scheduler, spec, data)
    measured_on = states_of(unet, scheduler, spec, part) if data is None else data
    return objective_of(unet, scheduler, spec, part, measured_on, PartialState(cpu=True))


def spec_of(**changes: Any) -> SearchSpec:
    settings: dict[str, Any] = {"count": 28, "held_out": 28, "batch_size": 8, "sampler_steps": 3}
    return SearchSpec(**settings | changes)


def value(objective: Objective, converted: Converted, guidance: float = 1.0) -> float:
    converted.unet.guidance = guidance
    return objective.score(objective.draw(converted.unet))


def test_epsilon_is_the_geometric_mean_of_relative_errors_over_noise_strata(converted: Converted) -> None:
    unet = converted.unet
    unet.guidance = 1.0
    states = states_of(unet, converted.scheduler, spec_of(), "searched")
    with torch.no_grad():
        found = unet(states.states, states.diffusion_timesteps).sample.double()
        with analog(unet):
            target = unet(states.states, states.diffusion_timesteps).sample.double()
    logarithms = []
    for first, end in zip(STRATUM_STARTS, [*STRATUM_STARTS[1:], 1000], strict=True):
        rows = (states.diffusion_timesteps >= first) & (states.diffusion_timesteps < end)
        assert rows.sum() == 2
        logarithms.append(((found - target)[rows].square().sum() / target[rows].square().sum()).log())
    assert value(build(converted, batch_size=28), converted) == pytest.approx(
        torch.stack(logarithms).mean().exp().item(), rel=1e-4
    )


def test_a_stratum_that_a_resample_misses_is_left_out() -> None:
    rows = torch.tensor([[1.0, 2.0, 0.0], [1.0, 2.0, 2.0], [3.0, 2.0, 2.0]])
    assert error_over_strata(rows) == pytest.approx((0.5 * 1.0) ** 0.5)


def test_denoise_is_the_loss_of_a_ddpm_and_needs_images(
    converted: Converted, images: RealImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = build(converted, "searched", images, objective="denoise", count=6, held_out=14)
    assert objective.draw(converted.unet).shape == (6,)
    with monkeypatch.context() as silenced:
        for parameter in converted.unet.conv_out.parameters():
            silenced.setattr(parameter, "data", torch.zeros_like(parameter))
        with analog(converted.unet):  # ε = 0 against white noise
            assert value(objective, converted) == pytest.approx(1, rel=0.05)
    assert value(objective, converted) > 1.1
    with pytest.raises(ObjectiveError, match="expected images; name them with `data`"):
        build(converted, objective="denoise")
    with pytest.raises(ObjectiveError, match=r"noise: 24 images; denoise needs 25, 6 to search with .* 19 others"):
        build(converted, "searched", images, objective="denoise", count=6, held_out=19)


def test_fid_and_kid_are_those_of_the_images_that_the_network_draws(converted: Converted, real: RealData) -> None:
    settings: dict[str, Any] = {"objective": "fid", "count": 66, "held_out": 66, "steps": 2, "batch_size": 33}
    found = value(build(converted, "searched", real, **settings), converted)
    scheduler = choose_scheduler(converted.scheduler, "ddim")
    drawn = sample(converted.unet, scheduler, Drawing(66, 2, seed=1_000_000, batch_size=33))
    features = real.network(objectives.FeatureImages((drawn * 255).round().to(torch.uint8))).pooled
    assert found == pytest.approx(fid(features, real.reference), rel=1e-6)
    assert value(build(converted, "searched", real, **settings | {"objective": "kid"}), converted) > 0


def test_classes_are_drawn_as_often_as_the_real_images_have_them(
    make_unet: Callable[..., UNet2DModel], real: RealData
) -> None:
    blocks: dict[str, Any] = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    snn = SpikingUNet2DModel.from_unet(
        make_unet(sample_size=32, num_class_embeds=3, **blocks), SpikeSpec(segments=(0,))
    )
    spec, scheduler = SearchSpec(objective="fid", count=3, held_out=14, steps=2), DDPMScheduler()
    of_one = replace(real, class_counts=(0, 5))
    found = objective_of(snn, scheduler, spec, "searched", of_one, PartialState(cpu=True)).draw(snn)
    drawing = Drawing(3, 2, seed=1_000_000, class_labels=(1,))
    expected = objectives.drawn_features(snn, choose_scheduler(scheduler, "ddim"), drawing, slice(0, 3), real)
    torch.testing.assert_close(found, expected)


def test_real_images_are_needed_and_enough_of_them(converted: Converted, real: RealData) -> None:
    with pytest.raises(ObjectiveError, match="expected real images; name them with `data`"):
        build(converted, objective="kid")
    with pytest.raises(ObjectiveError, match=r"count = 64: .* fid needs more images than the 64 features"):
        build(converted, "searched", real, objective="fid", count=64)
    with pytest.raises(ObjectiveError, match=r"held_out = 20: .* fid needs more"):
        build(converted, "searched", real, objective="fid", count=66, held_out=20)
    with pytest.raises(
        ObjectiveError, match="count = 13: expected at least 14: epsilon needs a state in each noise stratum"
    ):
        build(converted, count=13)


def test_a_sampler_that_cannot_be_is_refused_before_it_draws(converted: Converted, real: RealData) -> None:
    with pytest.raises(ObjectiveError, match="steps = 1001: expected at most 1000"):
        build(converted, "searched", real, objective="fid", count=66, held_out=66, steps=1001)
    with pytest.raises(SamplingError, match="scheduler = 'magic'"):
        build(converted, "searched", real, objective="fid", count=66, held_out=66, scheduler="magic")


def test_images_that_are_not_finite_give_rows_that_are_not(
    converted: Converted, real: RealData, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = build(converted, "searched", real, objective="fid", count=66, held_out=66, steps=1)
    weight = converted.unet.conv_in.weight
    monkeypatch.setattr(weight, "data", torch.full_like(weight, torch.nan))
    rows = objective.draw(converted.unet)
    assert rows.isnan().all()
    assert math.isnan(objective.value(rows))


@pytest.mark.parametrize("name", ["epsilon", "denoise", "fid"])
def test_values_repeat_and_held_out_rows_are_others(
    converted: Converted, real: RealData, images: RealImages, name: str
) -> None:
    sizes = {"fid": {"count": 66, "held_out": 66}, "denoise": {"count": 8, "held_out": 14}}.get(name, {})
    settings = {"objective": name, "steps": 1, **sizes}
    data = {"fid": real, "denoise": images}.get(name)
    first, again = (value(build(converted, "searched", data, **settings), converted) for _ in range(2))
    assert first == again
    assert value(build(converted, "judged", data, **settings), converted) != first
    if name != "denoise":  # which has the same few images, in another order
        other = build(converted, "searched", data, **settings | {"seed": 1})
        assert value(other, converted) != first


def test_rows_come_in_order_however_they_are_cut() -> None:
    def some(rows: slice) -> Tensor:
        return torch.arange(rows.start, rows.stop)

    for batch_size in (1, 3, 10, 64):
        assert shared(some, 10, batch_size, PartialState(cpu=True)).tolist() == list(range(10))
