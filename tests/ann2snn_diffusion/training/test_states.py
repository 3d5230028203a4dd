from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor
from torch.utils.data import Dataset

from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.training.states import add_noise, image_batches


class Numbered(Dataset[Tensor]):
    """Image i is i everywhere."""

    def __getitem__(self, index: int) -> Tensor:
        return torch.full((3, 8, 8), index, dtype=torch.uint8)


def test_batches_from_any_step_on_are_those_of_a_run_from_the_start() -> None:
    whole = list(image_batches(Numbered(), 4, 50, seed=1, process=0, first=0, last=6, workers=0))
    late = list(image_batches(Numbered(), 4, 50, seed=1, process=0, first=4, last=6, workers=0))
    assert all(torch.equal(one, other) for one, other in zip(whole[4:], late, strict=True))
    other_process = next(image_batches(Numbered(), 4, 50, seed=1, process=1, first=0, last=1, workers=0))
    assert not torch.equal(whole[0], other_process)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_noisy_images_and_their_target_belong_together(unet: UNet2DModel, prediction_type: str) -> None:
    scheduler: Any = DDPMScheduler.from_config({"prediction_type": prediction_type})
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    batch = add_noise(pixels, unet, scheduler, stream(0, 0, 0))
    assert batch.states.shape == batch.target.shape == (2, 1, 8, 8)
    signal = scheduler.alphas_cumprod[batch.diffusion_timesteps].view(-1, 1, 1, 1)
    if prediction_type == "epsilon":
        image = (batch.states - (1 - signal).sqrt() * batch.target) / signal.sqrt()
    elif prediction_type == "v_prediction":
        image = signal.sqrt() * batch.states - (1 - signal).sqrt() * batch.target
    else:
        image = batch.target
    torch.testing.assert_close(image, torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand_as(image), atol=2e-3, rtol=0)
