from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ann2snn_diffusion.evaluation.fan_out import fan_out, fan_out_before, narrowed, weighted_count
from tests.ann2snn_diffusion.evaluation.brute_force import sources_of

CONVOLUTIONS: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 2},
    {"kernel_size": 1},
    {"kernel_size": (1, 3), "padding": (0, 2), "stride": (1, 2)},
    {"kernel_size": 3, "padding": 2, "dilation": 2},
    {"kernel_size": 3, "padding": 1, "groups": 2},
    {"kernel_size": 3, "padding": 1, "groups": 4},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_a_spike_reaches_as_many_synapses_as_a_loop_over_them_finds(options: dict[str, Any]) -> None:
    layer = nn.Conv2d(4, 8, **options)
    expected = torch.zeros(1, 4, 7, 6, dtype=torch.float64)
    for channel, y, x in sources_of(layer, 7, 6):
        expected[0, channel, y, x] += 1
    assert torch.equal(fan_out(layer, torch.Size((3, 4, 7, 6))).expand_as(expected), expected)


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_padding_with_copies_lets_border_spikes_reach_more(mode: Any) -> None:
    layer = nn.Conv2d(1, 2, 3, padding=1, padding_mode=mode, bias=False)
    nn.init.ones_(layer.weight)
    for place in range(25):
        spike = torch.zeros(25)
        spike[place] = 1
        reached = layer(spike.view(1, 1, 5, 5)).sum().item()
        assert fan_out(layer, torch.Size((1, 1, 5, 5))).flatten()[place] == round(reached)


def test_a_linear_layer_is_reached_once_for_each_output() -> None:
    assert fan_out(nn.Linear(3, 7), torch.Size((2, 5, 3))).expand(1, 5, 3).eq(7).all()


def test_copies_on_the_way_to_a_layer_are_counted() -> None:
    emitted = torch.randn(1, 2, 3, 3, requires_grad=True)
    layer = nn.Conv2d(2, 4, 3, padding=1)
    received = F.interpolate(emitted, scale_factor=2.0, mode="nearest")
    reached = fan_out_before(received, emitted, fan_out(layer, received.shape))
    assert reached is not None
    assert reached.shape == (1, 1, 3, 3)
    assert reached[0, 0, 1, 1] == 4 * 9 * 4
    assert reached[0, 0, 0, 0] == (4 + 6 + 6 + 9) * 4


def test_a_layer_that_depends_on_no_spike_is_reached_by_none() -> None:
    emitted = torch.randn(1, 2, 3, 3, requires_grad=True)
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    assert fan_out_before(torch.randn(1, 2, 3, 3), emitted, one) is None
    assert fan_out_before(torch.randn(1, 2, 3, 3, requires_grad=True) * 2, emitted, one) is None


def test_only_dimensions_that_are_all_alike_are_narrowed() -> None:
    assert narrowed(torch.ones(1, 3, 4, 5)).shape == (1, 1, 1, 1)
    assert narrowed(torch.arange(4).view(1, 1, 4, 1).expand(1, 3, 4, 5)).shape == (1, 1, 4, 1)


def test_counts_beyond_single_precision_are_exact() -> None:
    counts = torch.ones(2, 64, 16, 16)
    counts[1, 0, 0, 0] = 2
    assert weighted_count(counts, torch.full((1, 1, 1, 1), 1151.0).double()).tolist() == [18857984, 18859135]
    assert weighted_count(counts, torch.full((1, 1, 16, 16), 1151.0).double()).tolist() == [18857984, 18859135]
