from typing import Any

import pytest

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.training.spec import TrainingSpec


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps = 0: expected a whole number from 1"),
        ({"synchronous": "yes"}, "synchronous = 'yes': expected true or false"),
        ({"learning_rate": 0}, "learning_rate = 0: expected a number above 0"),
        ({"learning_rate": float("nan")}, "a number above 0"),
        ({"lr_scheduler": "warm"}, "one of linear, cosine"),
        ({"mixed_precision": "fp8"}, "one of no, fp16, bf16"),
        ({"own_share": 1.5}, "a number from 0 to 1"),
        ({"distill": 0.0}, "a weight above 0"),
        ({"firing_rate": -1.0}, "a number from 0"),
        ({"learn": "thresholds"}, "one of spiking, all"),
        ({"energy": 0.0}, r"energy = 0.0: expected a number in \(0, 1\]"),
        ({"energy": 0.2, "firing_rate": 0.1}, "energy = 0.2: expected none beside a weight of `firing_rate`"),
        ({"energy": 0.2, "synchronous": True}, "energy = 0.2: expected none beside `synchronous`"),
    ],
)
def test_an_impossible_training_is_refused_with_field_and_reason(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        TrainingSpec(**values)
