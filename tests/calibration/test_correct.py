from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibration.correct import correction, patches, ridge


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
    weight, bias = correction(layer, received, target - layer(received), 1e-8, 1000, generator)
    layer.weight += weight
    layer.bias = nn.Parameter(cast(Tensor, layer.bias) + bias)
    torch.testing.assert_close(layer(received), target, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_correction_moves_the_bias_by_a_constant_residual_without_shrinking_it(generator: torch.Generator) -> None:
    layer, received = nn.Linear(4, 2), torch.randn(10, 20, 4, generator=generator)
    residual = torch.tensor([0.5, -1.0]).expand(10, 20, 2)
    weight, bias = correction(layer, received, residual, 1.0, 200, generator)
    assert weight.abs().max() < 1e-6
    torch.testing.assert_close(bias, torch.tensor([0.5, -1.0]))


@torch.no_grad()
def test_correction_leaves_a_layer_alone_where_it_could_only_learn_noise(generator: torch.Generator) -> None:
    layer, received = nn.Linear(64, 4), torch.randn(8, 12, 64, generator=generator)
    weight, bias = correction(layer, received, torch.randn(8, 12, 4, generator=generator), 1e-6, 400, generator)
    assert weight.abs().max() == 0
    assert bias.abs().max() == 0
