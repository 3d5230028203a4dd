from types import SimpleNamespace
from typing import Any

import torch

from ann2snn_diffusion.evaluation.noise_strata import noise_strata, relative_error, relative_error_within

BOUNDS, STATES, REPEATS = (0, 10, 50, 200), 8, 200


def test_the_interval_of_the_error_covers_it_about_as_often_as_it_says(generator: torch.Generator) -> None:
    steps, widths = torch.tensor([5, 20, 100]).repeat(STATES), torch.tensor(BOUNDS).diff()
    means = torch.tensor([0.3, 0.1, 0.02])
    truth, covered = (widths * means).sum() / widths.sum(), 0
    for _ in range(REPEATS):
        powers = 1 + 0.2 * torch.rand(len(steps), generator=generator)
        spread = 1 + 0.5 * torch.randn(len(steps), generator=generator)
        found: Any = SimpleNamespace(errors=means.repeat(STATES) * spread * powers, powers=powers)
        within = relative_error_within(found, steps, BOUNDS)
        assert within is not None
        covered += abs(relative_error(noise_strata(found, steps, BOUNDS)) - truth) <= within
    assert 0.87 < covered / REPEATS < 0.99


def test_a_stratum_of_a_single_state_leaves_no_interval() -> None:
    found: Any = SimpleNamespace(errors=torch.rand(3), powers=torch.ones(3))
    assert relative_error_within(found, torch.tensor([5, 20, 100]), BOUNDS) is None
