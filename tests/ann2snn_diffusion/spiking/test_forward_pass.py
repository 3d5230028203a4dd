import copy
import pickle
import threading

import pytest
import torch
from torch import Tensor, nn

from ann2snn_diffusion.spiking.forward_pass import ForwardPass, Listener, Mode, checkpoint, current, running


def in_another_thread(run: object) -> list[object]:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(run()))  # pyright: ignore
    thread.start()
    thread.join()
    return found


def test_a_pass_is_current_inside_its_block_alone_and_after_an_error_what_was_before() -> None:
    outside, outer, inner = current(), ForwardPass(ticks=2), ForwardPass(ticks=3)
    with running(outer):
        with running(inner):
            assert current() is inner
        with pytest.raises(ZeroDivisionError), running(inner):
            raise ZeroDivisionError
        assert current() is outer
    assert current() is outside
    assert outside.segment is None
    assert not outside.analog


def test_a_pass_is_not_seen_from_another_thread() -> None:
    with running(ForwardPass(ticks=2)):
        assert [each.ticks for each in in_another_thread(current)] == [1]  # pyright: ignore


def test_a_mode_is_each_thread_s_own_and_a_copy_s_own() -> None:
    mode = Mode()
    mode.analog = True
    assert in_another_thread(lambda: mode.analog) == [False]
    assert not copy.deepcopy(mode).analog
    assert not pickle.loads(pickle.dumps(mode)).analog


class Scaling(nn.Module):
    """Multiplies by its weight and the ticks of the pass, and says so."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0))

    def forward(self, value: Tensor) -> Tensor:
        forward_pass = current()
        if forward_pass.listener is not None:
            forward_pass.listener.hear(self, value)
        return (self.weight * value).exp() * forward_pass.ticks


def test_a_checkpointed_module_is_computed_again_within_its_own_pass() -> None:
    module, value = Scaling(), torch.tensor(0.5, requires_grad=True)
    seen: list[int] = []
    module.register_forward_pre_hook(lambda *_: seen.append(current().ticks))
    with running(ForwardPass(ticks=2)):
        first = checkpoint(module, value)
    with running(ForwardPass(ticks=5)):
        second = checkpoint(module, value)
        (first + second).backward()
    assert sorted(seen) == [2, 2, 5, 5]
    assert value.grad is not None
    torch.testing.assert_close(value.grad, 7 * 3 * torch.tensor(1.5).exp())


def test_what_a_listener_measured_stays_when_its_module_is_computed_again() -> None:
    module, value = Scaling(), torch.tensor(0.5, requires_grad=True)
    calls: list[int] = []

    def measure(neuron: Scaling, charge: Tensor) -> Tensor:
        calls.append(1)
        return (neuron.weight * charge).square()

    listener = Listener(measure)
    with running(ForwardPass(listener=listener)):
        output = checkpoint(module, value)
    measured = listener.measured[module]
    (output + measured).backward()
    assert len(calls) == 2
    assert listener.measured[module] is measured
    assert value.grad is not None
    torch.testing.assert_close(value.grad, 3 * torch.tensor(1.5).exp() + 2 * 9 * 0.5)
