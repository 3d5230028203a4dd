import pytest
import torch

from ann2snn_diffusion.spiking.surrogate import SURROGATES, Surrogate, derivative, spike


def test_spikes_fire_at_and_above_the_margin_only() -> None:
    margin = torch.tensor([-1.0, -1e-6, 0.0, 1e-6, 1.0])
    assert spike(margin, "arctan").tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_the_derivative_is_a_bump_of_unit_area_at_the_firing_condition(surrogate: Surrogate) -> None:
    margin = torch.linspace(-2000, 2000, 4_000_001, dtype=torch.float64)
    bump = derivative(margin, surrogate)
    assert torch.trapezoid(bump, margin).item() == pytest.approx(1, abs=1e-3)
    assert (bump[margin.abs() < 1e-6] == bump.max()).all()
    torch.testing.assert_close(bump, bump.flip(0))


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_gradients_are_the_surrogate_derivative(surrogate: Surrogate, generator: torch.Generator) -> None:
    margin = torch.randn(100, generator=generator).requires_grad_()
    incoming = torch.randn(100, generator=generator)
    spike(margin, surrogate).backward(incoming)
    torch.testing.assert_close(margin.grad, incoming * derivative(margin.detach(), surrogate))
