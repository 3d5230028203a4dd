import itertools

import pytest
import torch
from torch import Tensor

from ann2snn_diffusion.bptt import FireAll
from ann2snn_diffusion.coding import CODINGS, Coding, step_weights
from ann2snn_diffusion.neuron import spike_train
from ann2snn_diffusion.surrogate import SURROGATES, Surrogate, derivative

CASES = [
    (coding, signed, time_steps)
    for coding, signed, time_steps in itertools.product(CODINGS, (True, False), (1, 2, 4, 8))
    if signed or coding != "ternary"
]


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    value = 4 * torch.randn(6, 3, 5, 5, generator=generator, dtype=torch.float64)
    unit = 0.2 + torch.rand(6, 3, 1, 1, generator=generator, dtype=torch.float64)
    offset = torch.randn(1, 3, 1, 1, generator=generator, dtype=torch.float64)
    return value.requires_grad_(), unit.requires_grad_(), offset.requires_grad_()


@pytest.mark.parametrize("guidance", [1.0, 0.8])
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize(("coding", "signed", "time_steps"), CASES)
def test_values_and_gradients_are_those_of_autograd_through_the_spike_by_spike_loop(
    coding: Coding, signed: bool, time_steps: int, surrogate: Surrogate, guidance: float
) -> None:
    weights = step_weights(coding, time_steps)
    found = []
    for summed in (True, False):
        value, unit, offset = inputs()
        if summed:
            output = FireAll.apply(value, unit, offset, weights, guidance, signed, surrogate)
        else:
            trains = spike_train((value - offset) / unit, weights, guidance, signed, surrogate)
            output = offset + unit * torch.einsum("t,t...->...", torch.tensor(weights).double(), trains)
        assert isinstance(output, Tensor)
        cotangent = torch.randn(output.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        found.append([output, *torch.autograd.grad(output, (value, unit, offset), cotangent)])
    for ours, reference in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_a_single_step_has_the_slope_of_the_smoothed_spike(surrogate: Surrogate) -> None:
    # Finite differences of ∫ surrogate, the smoothed spike, at the one firing condition of a {0, 1} neuron.
    grid = torch.linspace(-40, 40, 800_001, dtype=torch.float64)
    smoothed = torch.cumsum(derivative(grid, surrogate), 0) * (grid[1] - grid[0])
    charge = torch.linspace(-2, 3, 41, dtype=torch.float64, requires_grad=True)
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    output = FireAll.apply(charge, one, zero, (1,), 1.0, False, surrogate)
    assert isinstance(output, Tensor)
    (slope,) = torch.autograd.grad(output.sum(), charge)
    margin = charge.detach() + 0.5 - 1
    step = 1e-3
    ends = [torch.searchsorted(grid, margin + side * step).clamp(max=len(grid) - 1) for side in (1, -1)]
    difference = (smoothed[ends[0]] - smoothed[ends[1]]) / (grid[ends[0]] - grid[ends[1]])
    torch.testing.assert_close(slope, difference, rtol=1e-2, atol=2e-3)


def test_no_membrane_is_kept_for_the_backward_pass() -> None:
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    sizes = []
    for time_steps in (1, 8):
        kept.clear()
        value, unit, offset = inputs()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            FireAll.apply(value, unit, offset, step_weights("radix", time_steps), 1.0, True, "arctan")
        sizes.append(sum(kept))
    assert sizes[0] == sizes[1] == sum(part.numel() for part in inputs())
