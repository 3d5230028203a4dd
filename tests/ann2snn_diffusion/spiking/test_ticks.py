import torch
from torch import nn

from ann2snn_diffusion.spiking.ticks import arrivals, by_means, by_slices, running_means, value_of


def test_running_means_end_with_the_mean_and_arrivals_undo_them(generator: torch.Generator) -> None:
    slices = torch.randn(5, 3, 2, 2, generator=generator)
    means = torch.stack(running_means(slices))
    torch.testing.assert_close(means[2], slices[:3].mean(0))
    torch.testing.assert_close(value_of(means.flatten(0, 1), 3), slices.mean(0))
    torch.testing.assert_close(torch.stack(arrivals(means)), slices)


@torch.no_grad()
def test_what_an_analog_step_hands_on_averages_to_its_exact_value(generator: torch.Generator) -> None:
    step = nn.Sequential(nn.GroupNorm(2, 4), nn.SiLU())
    slices = torch.randn(4, 3, 4, 5, 5, generator=generator)
    means = torch.stack(running_means(slices))
    handed_on = torch.stack(arrivals(step(means.flatten(0, 1)).unflatten(0, (4, 3))))
    torch.testing.assert_close(handed_on.mean(0), step(slices.mean(0)), rtol=1e-4, atol=1e-5)


def test_gradients_go_through_means_and_arrivals(generator: torch.Generator) -> None:
    slices, cotangent = (torch.randn(4, 3, generator=generator, requires_grad=True) for _ in range(2))
    (expected,) = torch.autograd.grad(torch.stack(running_means(slices)), slices, cotangent)
    torch.testing.assert_close(torch.stack(by_slices(cotangent)), expected)
    (expected,) = torch.autograd.grad(torch.stack(arrivals(slices)), slices, cotangent)
    torch.testing.assert_close(torch.stack(by_means(list(cotangent))), expected)
