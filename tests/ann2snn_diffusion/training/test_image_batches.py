import torch

from ann2snn_diffusion.data.datasets import RealImages
from ann2snn_diffusion.training.image_batches import image_batches


def numbered(count: int) -> RealImages:
    """Image i is i everywhere."""
    return RealImages("numbered", "none", "digest", count, lambda index: torch.full((3, 8, 8), index).byte())


def test_batches_from_any_step_on_are_those_of_a_run_from_the_start() -> None:
    whole = list(image_batches(numbered(50), 4, seed=1, process=0, steps=range(0, 6), workers=0))
    late = list(image_batches(numbered(50), 4, seed=1, process=0, steps=range(4, 6), workers=0))
    assert all(torch.equal(one, other) for one, other in zip(whole[4:], late, strict=True))
    other_process = next(image_batches(numbered(50), 4, seed=1, process=1, steps=range(0, 1), workers=0))
    assert not torch.equal(whole[0], other_process)
