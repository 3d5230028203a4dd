"""The closed form by bits against the table, which itself is held against the loop over firing steps."""

import pytest
import torch

from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.sparse_levels import sparse_level
from ann2snn_diffusion.spiking.spec import SpikeSpec
from calibration.levels import QUARTERS, level_of


@pytest.mark.parametrize("digits", range(1, 9))
def test_every_quarter_of_a_unit_has_the_level_that_its_train_sums_to(digits: int) -> None:
    neuron = SpikingNeuron(1, True, SpikeSpec(digits, "radix", dead_zone=True, segments=(0,)))
    lowest, highest = neuron.level_range
    # Boundaries, and charges just below and above them, beyond both ends too.
    boundaries = torch.arange(QUARTERS * (lowest - 3), QUARTERS * (highest + 3)) / QUARTERS
    charge = torch.cat([boundaries, *(boundaries.nextafter(boundaries + way) for way in (-1, 1))])
    assert torch.equal(sparse_level(charge, highest), level_of(charge.clone(), lowest, highest, neuron.table))


def test_no_number_has_no_level_and_infinity_the_last_one() -> None:
    found = sparse_level(torch.tensor([torch.nan, torch.inf, -torch.inf]), 15)
    assert found[0].isnan()
    assert found[1:].tolist() == [15, -15]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("digits", [4, 7, 8, 10])
def test_in_every_precision_levels_are_those_of_the_charge_as_it_is(digits: int, dtype: torch.dtype) -> None:
    neuron = SpikingNeuron(1, True, SpikeSpec(5, "radix", dead_zone=True, segments=(0,)), doubled=True)
    if digits != 10:
        neuron = SpikingNeuron(1, True, SpikeSpec(digits, "radix", dead_zone=True, segments=(0,)))
    lowest, highest = neuron.level_range
    charge = torch.tensor([-6.0, 0.5, 0.75, -0.75, 1.5, 2.0, 1e4, -1e4, torch.nan], dtype=dtype)
    expected = level_of(charge.float(), lowest, highest, neuron.table)
    assert expected[:6].tolist() == [-6, 0, 1, 0, 2, 2]
    for found in (sparse_level(charge, highest), level_of(charge.clone(), lowest, highest, neuron.table)):
        torch.testing.assert_close(found.to(dtype), expected.to(dtype), rtol=0, atol=0, equal_nan=True)
    assert sparse_level(charge, highest).dtype == dtype
