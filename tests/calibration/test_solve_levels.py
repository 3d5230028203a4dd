import pytest
import torch

from calibration.solve_levels import least_squares, maximum, percentile, quantise


def error(values: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor, lowest: int, highest: int) -> torch.Tensor:
    return (quantise(values, scale, offset, lowest, highest) - values).square().mean(0)


@pytest.mark.parametrize(("lowest", "highest"), [(0, 15), (-15, 15), (0, 4)])
def test_least_squares_finds_planted_levels(generator: torch.Generator, lowest: int, highest: int) -> None:
    scale, offset = torch.tensor([0.1, 2.0]), torch.tensor([-0.3, 5.0])
    levels = torch.randint(lowest, highest + 1, (4000, 2), generator=generator)
    found = least_squares(offset + scale * levels, lowest, highest)
    torch.testing.assert_close(found[0], scale, rtol=1e-3, atol=0)
    torch.testing.assert_close(found[1], offset, rtol=1e-3, atol=1e-3)


def test_least_squares_beats_both_baselines_on_every_channel(generator: torch.Generator) -> None:
    values = torch.nn.functional.silu(2 * torch.randn(4000, 8, generator=generator))
    ours = error(values, *least_squares(values, 0, 15), 0, 15)
    assert (ours < error(values, *maximum(values, 0, 15), 0, 15)).all()
    assert (ours < error(values, *percentile(values, 0, 15), 0, 15)).all()


def test_least_squares_is_close_to_an_exhaustive_search(generator: torch.Generator) -> None:
    values = torch.nn.functional.silu(torch.randn(2000, 1, generator=generator))
    found = error(values, *least_squares(values, 0, 7), 0, 7).item()
    grid = min(
        error(values, torch.tensor([scale]), torch.tensor([offset]), 0, 7).item()
        for scale in torch.linspace(0.05, 0.6, 60).tolist()
        for offset in torch.linspace(-0.4, 0.2, 30).tolist()
    )
    assert found <= 1.02 * grid


def test_a_constant_channel_is_represented_exactly() -> None:
    values = torch.full((100, 1), 0.7)
    scale, offset = least_squares(values, 0, 15)
    assert scale > 0
    torch.testing.assert_close(quantise(values, scale, offset, 0, 15), values)


def test_maximum_reaches_the_largest_magnitude() -> None:
    scale, offset = maximum(torch.tensor([[-3.0], [1.0], [2.0]]), -15, 15)
    assert (15 * scale).item() == pytest.approx(3)
    assert offset.item() == 0


def test_percentile_ignores_outliers() -> None:
    values = torch.cat([torch.linspace(0, 1, 999), torch.tensor([100.0])])[:, None]
    scale, _ = percentile(values, 0, 10, 99.9)
    assert (10 * scale).item() == pytest.approx(1)
