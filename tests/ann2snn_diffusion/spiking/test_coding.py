import itertools

import pytest

from ann2snn_diffusion.spiking.coding import CODINGS, Coding, level_range, step_weights


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("time_steps", range(1, 6))
def test_every_integer_in_the_range_is_the_sum_of_some_spike_train(coding: Coding, time_steps: int) -> None:
    signed = coding == "ternary"
    weights = step_weights(coding, time_steps)
    trains = itertools.product((-1, 0, 1) if signed else (0, 1), repeat=time_steps)
    sums = {sum(weight * spike for weight, spike in zip(weights, train, strict=True)) for train in trains}
    lowest, highest = level_range(weights, signed)
    assert sums == set(range(lowest, highest + 1))


def test_four_steps_give_the_promised_number_of_levels() -> None:
    spans = {coding: sum(step_weights(coding, 4)) for coding in CODINGS}
    assert spans == {"rate": 4, "radix": 15, "ternary": 40}


def test_zero_time_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        step_weights("radix", 0)
