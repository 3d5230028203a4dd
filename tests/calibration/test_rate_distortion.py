from itertools import pairwise

import pytest
import torch
from torch import Tensor

from calibration import solve_levels as solve
from calibration.levels import Levels
from calibration.rate_distortion import Sample, least_cost, represent


@pytest.fixture
def levels() -> Levels:
    """Levels −31 … 31; a level costs as many digits as are set in it."""
    return Levels(-31, torch.tensor([float(abs(level).bit_count()) for level in range(-31, 32)]))


@pytest.fixture
def values(generator: torch.Generator) -> Tensor:
    """Of two segments and three channels: skewed as after a SiLU, symmetric, and constant."""
    drawn = torch.randn(2, 400, 3, generator=generator)
    skewed = torch.nn.functional.silu(2 * drawn[..., 0])
    return torch.stack([skewed, drawn[..., 1], torch.full_like(skewed, 0.7)], -1)


def sample(values: Tensor) -> Sample:
    return Sample(values, values.amin(1), values.amax(1))


def objective(values: Tensor, importance: Tensor, price: float, levels: Levels) -> Tensor:
    error, cost = represent(values, *least_cost(sample(values), importance, price, levels), levels)
    return importance * error + price * cost


def test_a_dearer_spike_is_spent_less_and_the_error_grows(values: Tensor, levels: Levels) -> None:
    importance = torch.ones(2, 3)
    found = [represent(values, *least_cost(sample(values), importance, price, levels), levels)
             for price in (1e-5, 1e-3, 1e-1, 1e3)]  # fmt: skip
    for (error, cost), (later_error, later_cost) in pairwise(found):
        assert (later_cost <= 1.005 * cost + 1e-6).all()  # the grain of the search
        assert (later_error >= error - 1e-7).all()
    assert (found[-1][1] == 0).all()  # nothing spikes
    torch.testing.assert_close(found[-1][0], values.var(1, unbiased=False))


def test_importance_is_the_inverse_of_a_price(values: Tensor, levels: Levels) -> None:
    one = least_cost(sample(values), torch.full((2, 3), 4.0), 0.4, levels)
    other = least_cost(sample(values), torch.full((2, 3), 1.0), 0.1, levels)
    torch.testing.assert_close(one, other)


def test_no_scale_and_offset_of_a_fine_grid_is_much_better(values: Tensor, levels: Levels) -> None:
    importance, price = torch.ones(2, 3), 2e-3
    found = objective(values, importance, price, levels)
    best = torch.full_like(found, torch.inf)
    low, high = values.amin(1), values.amax(1)
    for scale in torch.logspace(-2, 0.6, 60):
        for part in torch.linspace(0, 1, 41):
            error, cost = represent(values, scale.expand(2, 3), low + part * (high - low), levels)
            best = torch.minimum(best, importance * error + price * cost)
    assert (found <= 1.3 * best + 1e-9).all()


def test_at_a_negligible_price_it_is_as_good_as_least_squares(values: Tensor, levels: Levels) -> None:
    error, _ = represent(values, *least_cost(sample(values), torch.ones(2, 3), 1e-9, levels), levels)
    for segment in range(2):
        scale, offset = solve.least_squares(values[segment], levels.lowest, levels.highest)
        reference = (solve.quantise(values[segment], scale, offset, -31, 31) - values[segment]).square().mean(0)
        assert (error[segment] <= 2.5 * reference + 1e-9).all()


def test_the_cheapest_level_lies_where_most_values_are(levels: Levels, generator: torch.Generator) -> None:
    mostly = torch.where(torch.rand(1, 1000, 1, generator=generator) < 0.8, 0.25, 1.0)
    noisy = sample(mostly + 0.001 * torch.randn(mostly.shape, generator=generator))
    _, offset = least_cost(noisy, torch.ones(1, 1), 0.01, levels)
    assert offset.item() == pytest.approx(0.25, abs=0.02)


def test_unsigned_levels_have_their_silent_one_at_the_low_end(generator: torch.Generator) -> None:
    levels = Levels(0, torch.tensor([float(level.bit_count()) for level in range(16)]))
    values = torch.rand(1, 300, 2, generator=generator)
    error, cost = represent(values, *least_cost(sample(values), torch.ones(1, 2), 1e-4, levels), levels)
    assert (error < 0.01).all()
    assert (cost < 2.5).all()


def test_levels_reach_rare_values_that_no_row_shows(levels: Levels, generator: torch.Generator) -> None:
    rows = torch.randn(1, 200, 1, generator=generator)
    seen = Sample(rows, torch.full((1, 1), -20.0), torch.full((1, 1), 30.0))
    scale, offset = least_cost(seen, torch.ones(1, 1), 1e-9, levels)
    assert (offset + levels.lowest * scale).item() < -20
    assert (offset + levels.highest * scale).item() > 30
