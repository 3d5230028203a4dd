from typing import Any

import pytest
import torch

from ann2snn_diffusion.spiking.firing import spike_train_of_increments
from ann2snn_diffusion.spiking.fusing import compiled, unfused
from ann2snn_diffusion.spiking.surrogate import SURROGATES, Surrogate
from ann2snn_diffusion.spiking.tick_gradients import FireTicks
from ann2snn_diffusion.spiking.ticks import arrivals, running_means
from tests.ann2snn_diffusion.spiking.firings import early
from tests.ann2snn_diffusion.spiking.gradients import assert_same_gradients, draw, inputs, kept_for_backward


@pytest.mark.parametrize("neurons", [1, 2])
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize(("leak", "guidance"), [(1.0, 1.0), (0.7, 0.9)])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_values_and_gradients_are_those_of_autograd_through_the_loop(
    surrogate: Surrogate, signed: bool, leak: float, guidance: float, learned: bool, neurons: int
) -> None:
    means, unit, offset = inputs(4)
    forgetting = torch.tensor(leak, dtype=torch.float64, requires_grad=True)
    amplitudes = (1 + 0.2 * draw(4 * neurons, seed=6)).requires_grad_()
    firing = early((1,) * 4 * neurons, guidance, signed, surrogate)
    ours: Any = FireTicks.apply(means, unit, offset, forgetting, amplitudes if learned else None, firing, unfused)
    increments = [arriving / 4 for arriving in arrivals((means - offset) / unit)]
    spikes = spike_train_of_increments(increments, forgetting, firing)
    amplified = (spikes * amplitudes.view(-1, 1, 1, 1, 1) if learned else spikes).unflatten(0, (4, neurons)).sum(1)
    parameters = (means, unit, offset, forgetting, *([amplitudes] if learned else []))
    assert_same_gradients(ours, torch.stack(running_means(offset + 4 * unit * amplified)), parameters)


def test_the_integrate_and_fire_neuron_is_spikingjellys() -> None:
    neurons = pytest.importorskip("spikingjelly.activation_based.neuron", exc_type=ImportError)
    surrogates = pytest.importorskip("spikingjelly.activation_based.surrogate", exc_type=ImportError)
    # Its arctan has the slope 1 / (1 + (πx)²) at α = 2. Our neuron starts half charged: half a unit comes with tick 1.
    theirs = neurons.IFNode(v_threshold=1.0, v_reset=None, surrogate_function=surrogates.ATan(alpha=2.0), step_mode="m")
    currents = draw(4, 50, seed=7).float().requires_grad_()
    start = torch.zeros(4, 1).index_fill(0, torch.tensor(0), 0.5)
    expected = theirs(currents + start)
    one, zero, firing = torch.ones(1), torch.zeros(1), early((1,) * 4, 1.0, False, "arctan")
    means = torch.stack(running_means(4 * currents))
    ours: Any = torch.stack(arrivals(FireTicks.apply(means, one, zero, one, None, firing, unfused)))  # pyright: ignore
    torch.testing.assert_close(ours / 4, expected)
    cotangent = draw(4, 50, seed=8).float()
    ours_gradient, expected_gradient = (
        torch.autograd.grad(output, currents, cotangent) for output in (ours / 4, expected)
    )
    torch.testing.assert_close(ours_gradient, expected_gradient)


def test_no_membrane_is_kept_for_the_backward_pass() -> None:
    means, unit, offset = inputs(4)
    leak, firing = torch.ones((), dtype=torch.float64), early((1,) * 4, 1.0, True, "arctan")
    kept = kept_for_backward(FireTicks, means, unit, offset, leak, None, firing, unfused)
    assert kept == means.numel() + unit.numel() + offset.numel() + 1


@pytest.mark.usefixtures("compiler")
@pytest.mark.slow
@pytest.mark.parametrize("neurons", [1, 2])
def test_fused_it_computes_the_same(neurons: int) -> None:
    means, unit, offset = (part.float().detach().requires_grad_() for part in inputs(4))
    leak, firing = torch.tensor(0.9, requires_grad=True), early((1,) * 4 * neurons, 1.0, True, "rectangle")
    ours, reference = (FireTicks.apply(means, unit, offset, leak, None, firing, fuse) for fuse in (compiled, unfused))
    assert_same_gradients(ours, reference, (means, unit, offset, leak))
