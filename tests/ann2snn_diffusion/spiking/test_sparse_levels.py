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


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_levels_are_of_the_charges_type(dtype: torch.dtype) -> None:
    assert sparse_level(torch.tensor([-6.0, 0.5, 0.75], dtype=dtype), 7).tolist() == [-6, 0, 1]
    assert sparse_level(torch.zeros(1, dtype=dtype), 7).dtype == dtype
