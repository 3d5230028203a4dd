import copy
import logging

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.models.loading import Source
from ann2snn_diffusion.workflows.result_folder import Writing, sample_grids


def test_a_network_whose_images_are_not_finite_has_a_line_in_place_of_a_grid(
    unet: UNet2DModel, scheduler: DDPMScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    broken = copy.deepcopy(unet)
    broken.conv_out.weight.data.fill_(torch.nan)
    source = Source(unet, scheduler, "tiny")  # pyright: ignore[reportArgumentType]
    with caplog.at_level(logging.WARNING):
        grids = sample_grids({"good": unet, "bad": broken}, source, Writing(samples=1, sample_steps=2))
    assert list(grids) == ["good"]
    assert "no images of bad: Images 0 to 0 hold values that are not finite" in caplog.text
