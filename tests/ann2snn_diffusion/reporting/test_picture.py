import logging
import os
from pathlib import Path

import pytest
import torch

from ann2snn_diffusion.reporting.image_grids import save_grids
from ann2snn_diffusion.reporting.picture import picture


@pytest.mark.parametrize(
    ("title", "images"),
    [
        ("no width", torch.zeros(2, 1, 8)),
        ("$\\frac$", torch.zeros(1, 3, 8, 8)),
        ("none", torch.zeros(0, 1, 8, 8)),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_left_out_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, title: str, images: torch.Tensor
) -> None:
    with caplog.at_level(logging.WARNING), picture(tmp_path / "samples.png") as file:
        save_grids(file, {title: images})
    assert os.listdir(tmp_path) == []
    (message,) = caplog.messages
    assert message.startswith("samples.png was left out: ")
    assert "\n" not in message


def test_whoever_interrupts_a_picture_interrupts(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), picture(tmp_path / "samples.png"):
        raise KeyboardInterrupt
