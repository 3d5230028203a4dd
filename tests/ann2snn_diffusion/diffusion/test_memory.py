import pytest
from diffusers import UNet2DModel

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.diffusion.memory import require_memory


def test_more_images_than_memory_holds_are_refused_with_their_size(unet: UNet2DModel) -> None:
    require_memory("states", 1000, unet)
    with pytest.raises(SpecError, match=r"states = 1000000000000: expected fewer: these are 238,419 GiB of images"):
        require_memory("states", 10**12, unet)
