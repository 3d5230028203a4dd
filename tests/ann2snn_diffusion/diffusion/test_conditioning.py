from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DModel

from ann2snn_diffusion.diffusion.conditioning import (
    ConditionError,
    beside,
    draw_labels,
    draw_noise,
    in_turn,
    refuse_conditional,
    require_condition,
)

Make = Callable[..., UNet2DModel]


@pytest.mark.parametrize(
    ("takes", "gives", "condition"),
    [(1, 1, 0), (3, 6, 0), (2, 1, 1), (6, 3, 3), (9, 4, 5), (9, 4, 7), (6, 6, 3), (4, 6, 1)],
)
def test_the_image_has_the_channels_that_the_condition_leaves(
    make_unet: Make, generator: torch.Generator, takes: int, gives: int, condition: int
) -> None:
    unet = make_unet(in_channels=takes, out_channels=gives)
    found = torch.randn(2, condition, 8, 8) if condition else None
    require_condition(unet, found)
    noise = draw_noise(unet, 3, generator, found)
    assert noise.shape == (3, takes - condition, 8, 8)
    assert gives in (noise.shape[1], 2 * noise.shape[1])
    assert beside(noise, in_turn(found, 3)).shape[1] == takes


@pytest.mark.parametrize(
    ("takes", "gives", "expected"),
    [
        (6, 3, r"expected a `condition` beside the noisy image \(channels: 3\), or"),
        (9, 4, r"\(channels: 5 or 7 with a learned variance\)"),
        (4, 6, r"\(channels: 1 with a learned variance\)"),
        (3, 5, "expected as many channels out, or twice as many"),
    ],
)
def test_a_network_that_lacks_its_condition_says_of_how_many_channels(
    make_unet: Make, takes: int, gives: int, expected: str
) -> None:
    unet = make_unet(in_channels=takes, out_channels=gives)
    with pytest.raises(ConditionError, match=f"in_channels = {takes} and out_channels = {gives}: .*{expected}"):
        require_condition(unet, None)
    with pytest.raises(ConditionError, match="a search is not supported"):
        refuse_conditional(unet, "a search")


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (torch.zeros(1, 3, 8), r"expected shape \[N, C, 8, 8\] with N at least 1, got \[1, 3, 8\]"),
        (torch.zeros(0, 3, 8, 8), r"got \[0, 3, 8, 8\]"),
        (torch.zeros(1, 3, 8, 9), r"got \[1, 3, 8, 9\]"),
        (torch.zeros(1, 2, 8, 8), "expected channels: 3 .* got 2 channels"),
        (torch.zeros(1, 6, 8, 8), "got 6 channels"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"expected floating-point numbers .* got torch\.uint8"),
        (torch.full((1, 3, 8, 8), torch.nan), "finite"),
    ],
)
def test_a_condition_that_does_not_fit_is_refused(make_unet: Make, condition: torch.Tensor, message: str) -> None:
    with pytest.raises(ConditionError, match=message):
        require_condition(make_unet(in_channels=6, out_channels=3), condition)


def test_a_network_that_takes_none_says_so(unet: UNet2DModel) -> None:
    with pytest.raises(ConditionError, match="expected none beside"):
        require_condition(unet, torch.zeros(1, 1, 8, 8))


def test_conditions_are_used_in_turn() -> None:
    condition = torch.arange(3.0).view(3, 1, 1, 1)
    found = in_turn(condition, 5, first=2)
    assert found is not None
    assert found.flatten().tolist() == [2, 0, 1, 2, 0]
    assert in_turn(None, 5) is None


def test_labels_are_drawn_as_often_as_asked_and_the_rest_never(make_unet: Make, generator: torch.Generator) -> None:
    unet = make_unet(num_class_embeds=4)
    found = draw_labels(unet, 4000, generator, (0.75, 0.0, 0.25))
    assert found is not None
    counts = found.bincount(minlength=4)
    assert counts[1] == counts[3] == 0
    assert abs(counts[0].item() / 4000 - 0.75) < 0.03
