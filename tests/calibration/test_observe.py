import pytest
import torch
from torch import nn

from calibration.observe import draw_rows, visiting


def test_visitors_see_and_replace_and_are_gone_after_the_block() -> None:
    layer = nn.Identity()
    seen: list[float] = []
    with visiting([(layer, lambda value: seen.append(value.item()))], [(layer, lambda value, output: output + value)]):
        assert layer(torch.tensor(2.0)).item() == 4
    assert seen == [2]
    assert layer(torch.tensor(2.0)).item() == 2


def test_visitors_are_gone_after_an_error() -> None:
    layer = nn.Identity()
    with pytest.raises(ZeroDivisionError), visiting(after=[(layer, lambda value, output: output + 1)]):
        raise ZeroDivisionError
    assert layer(torch.tensor(2.0)).item() == 2


class Pair(nn.Module):
    def forward(self, first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return first, second


def test_a_site_may_be_called_by_name_and_hand_on_several_things() -> None:
    layer, seen = Pair(), []
    one, two = torch.tensor(1.0), torch.tensor(2.0)
    with visiting([(layer, seen.append)], [(layer, lambda value, output: seen.extend([value, output]))]):
        layer(first=one, second=two)
    assert seen == [one, one, (one, two)]


@pytest.mark.parametrize(("shape", "dim"), [((2, 3, 4, 5), 1), ((2, 7, 3), -1)])
def test_rows_are_channel_vectors_of_real_positions(
    generator: torch.Generator, shape: tuple[int, ...], dim: int
) -> None:
    activations = torch.randn(shape, generator=generator)
    rows = draw_rows(activations, dim, 10, generator)
    everything = activations.movedim(dim, -1).flatten(0, -2)
    assert rows.shape == (10, 3)
    assert all((row == everything).all(1).any() for row in rows)
