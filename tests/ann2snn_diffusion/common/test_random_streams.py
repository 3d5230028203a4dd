from itertools import product
from typing import get_args

import torch

from ann2snn_diffusion.common.random_streams import Purpose, image_stream, stream


def test_streams_differ_in_purpose_seed_and_every_word() -> None:
    words = [(), (0,), (0, 0), (1,), (0, 1)]
    names = list(product(get_args(Purpose), (0, 1, 12), words))
    drawn = {int(stream(purpose, seed, *rest).initial_seed()) for purpose, seed, rest in names}
    assert len(drawn) == len(names)


def test_equal_names_are_equal_streams() -> None:
    one, two = (torch.randn(3, generator=stream("training", 4, 1, 7)) for _ in range(2))
    assert torch.equal(one, two)


def test_no_stream_has_the_noise_of_an_image() -> None:
    images = {image_stream(0, index).initial_seed() for index in range(10_000)}
    assert not images & {stream(purpose, 0).initial_seed() for purpose in get_args(Purpose)}
