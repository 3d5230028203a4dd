from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibration.correct import COLUMNS, STRONG, Moments, Places, correction, outputs_at, patches, ridge


def test_ridge_without_noise_recovers_the_planted_map(generator: torch.Generator) -> None:
    inputs = torch.randn(500, 6, generator=generator, dtype=torch.float64)
    planted = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    found = ridge(inputs.T @ inputs, (inputs @ planted.T).T @ inputs, 1e-9)
    torch.testing.assert_close(found, planted, rtol=1e-6, atol=1e-6)


def test_ridge_shrinks_to_nothing_as_its_strength_grows(generator: torch.Generator) -> None:
    inputs = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    residual = torch.randn(2, 50, generator=generator, dtype=torch.float64)
    assert ridge(inputs.T @ inputs, residual @ inputs, 1e9).abs().max() < 1e-6


@pytest.mark.parametrize(("stride", "padding", "size"), [(1, 1, 3), (2, 1, 3), (1, 0, 1), (2, 0, 3)])
def test_patches_are_what_the_convolution_multiplies(
    generator: torch.Generator, stride: int, padding: int, size: int
) -> None:
    conv = nn.Conv2d(3, 5, size, stride, padding)
    images = torch.randn(2, 3, 9, 7, generator=generator)
    output = conv(images)
    where = [torch.randint(bound, (20,), generator=generator) for bound in (2, *output.shape[-2:])]
    seen = patches(conv, F.pad(images, (padding,) * 4), *where)
    expected = output[where[0], :, where[1], where[2]]
    torch.testing.assert_close(F.linear(seen, conv.weight.flatten(1), conv.bias), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["conv", "linear"])
@torch.no_grad()
def test_correction_undoes_a_linear_distortion_of_the_input(generator: torch.Generator, kind: str) -> None:
    if kind == "conv":
        layer, inputs = nn.Conv2d(4, 5, 3, padding=1), torch.randn(8, 4, 6, 6, generator=generator)
    else:
        layer, inputs = nn.Linear(4, 5), torch.randn(8, 36, 4, generator=generator)
    received = 0.8 * inputs
    target = layer(inputs)
    places = Places.drawn(8, 36, 1000, generator)
    found = correction(layer, received, layer(received), outputs_at(layer, target, places.all), places, 1e-8)
    assert found is not None
    layer.weight += found[0]
    layer.bias = nn.Parameter(cast(Tensor, layer.bias) + found[1])
    torch.testing.assert_close(layer(received), target, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_correction_moves_the_bias_by_a_constant_residual_without_shrinking_it(generator: torch.Generator) -> None:
    layer, received = nn.Linear(4, 2), torch.randn(10, 20, 4, generator=generator)
    places = Places.drawn(10, 20, 100, generator)
    wanted = outputs_at(layer, layer(received), places.all) + torch.tensor([0.5, -1.0])
    found = correction(layer, received, layer(received), wanted, places, 1.0)
    assert found is not None
    assert found[0].abs().max() < 1e-6
    torch.testing.assert_close(found[1], torch.tensor([0.5, -1.0]))


@torch.no_grad()
def test_correction_leaves_a_layer_alone_where_it_could_only_learn_noise(generator: torch.Generator) -> None:
    layer, received = nn.Linear(64, 4), torch.randn(8, 12, 64, generator=generator)
    places = Places.drawn(8, 12, 400, generator)
    assert correction(layer, received, layer(received), torch.randn(96, 4, generator=generator), places, 1e-6) is None


def test_moments_of_more_inputs_than_are_summed_together_are_those_of_all(generator: torch.Generator) -> None:
    layer = nn.Linear(2 * COLUMNS + 100, 3)
    inputs = torch.randn(50, layer.in_features + 1, generator=generator)
    inputs[:, -1] = 1
    residuals = torch.randn(50, 3, generator=generator)
    moments = Moments.none_yet(layer)
    for rows in (slice(0, 20), slice(20, 50)):
        moments.add(inputs[rows], residuals[rows])
    gram = (inputs.T @ inputs).double()
    torch.testing.assert_close(moments.gram.tril(), gram.tril(), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(moments.cross, (residuals.T @ inputs).double(), rtol=1e-5, atol=1e-4)
    assert moments.gram[-1, -1] == 50


@pytest.mark.parametrize("inputs", [1, 2, 3, 8, 100])
def test_places_are_of_inputs_to_find_it_on_and_of_others_to_judge_it_on(
    generator: torch.Generator, inputs: int
) -> None:
    places = Places.drawn(inputs, 25, 400, generator)
    assert (places.all.diff() >= 0).all() or inputs == 1
    assert 0 <= places.all.min() <= places.all.max() < 25 * inputs
    if inputs > 1:
        assert places.fit.max() // 25 < places.held_out.min() // 25
    if inputs < 16:
        assert len(places.fit.unique()) == len(places.fit)  # all there are, each once


@pytest.mark.parametrize("strength", [STRONG, 0.3])
def test_a_strong_ridge_needs_no_double_precision(strength: float, generator: torch.Generator) -> None:
    few = torch.randn(3000, 40, generator=generator)
    inputs = few @ torch.randn(40, 900, generator=generator) + 5  # far from independent, and off centre
    residuals = inputs[:, :8] + torch.randn(3000, 8, generator=generator)
    moments = Moments.none_yet(nn.Linear(900, 8))
    moments.add(F.pad(inputs, (0, 1), value=1.0), residuals)
    x, r = inputs.double() - inputs.double().mean(0), residuals.double() - residuals.double().mean(0)
    expected = ridge(x.T @ x, r.T @ x, strength)
    assert (moments.solve(strength)[:, :-1] - expected).norm() < 1e-3 * expected.norm()
