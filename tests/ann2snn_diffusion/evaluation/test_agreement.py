import pytest
import torch
from torch import Tensor

from ann2snn_diffusion.evaluation.agreement import Agreement, relative_errors

NONE, FLIPS = torch.zeros(5), torch.tensor([0, 0, 1e-7, 1e-3, 1e-2])


@pytest.mark.parametrize(
    ("alone", "together", "own", "holds"),
    [
        (NONE, NONE, NONE, True),
        (FLIPS, FLIPS, NONE, True),  # a level here and there
        (torch.full((5,), 2e-4), NONE, NONE, False),  # all states a little: something else is computed
        (NONE, torch.full((5,), 2e-4), NONE, False),
        (torch.full((5,), 2e-4), NONE, torch.full((5,), 1e-4), True),  # the network itself does not know better
        (NONE, torch.tensor([0, 0, 0, 0, 0.3]), NONE, False),  # one noise level is wrong
        (torch.full((5,), torch.nan), NONE, NONE, False),
        (NONE, torch.tensor([0, 0, 0, 0, torch.nan]), NONE, False),
    ],
)
def test_a_program_may_differ_by_rounding_alone(alone: Tensor, together: Tensor, own: Tensor, holds: bool) -> None:
    assert Agreement({1: alone, 5: together}, own).holds == holds


def test_errors_are_those_of_each_state() -> None:
    expected = torch.tensor([[1.0, -1.0], [2.0, 0.0], [0.0, 0.0]])
    found = torch.tensor([[1.0, -1.0], [2.0, 1.0], [0.0, 0.0]])
    assert relative_errors(found, expected).tolist() == [0, 0.25, 0]


def test_words_name_the_batches() -> None:
    told = Agreement({1: NONE, 5: FLIPS}, NONE).in_words()
    assert told == "relative error 0.0e+00 at batch 1 (at most 0.0e+00), 1.0e-07 at batch 5 (at most 1.0e-02)"
