from typing import Any

import pytest
import torch

from ann2snn_diffusion.spiking import fusing


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
def test_a_compiled_function_takes_any_layout_and_gives_no_gradients() -> None:
    value = torch.randn(3, 4, requires_grad=True)
    for one in (value, value.T):
        doubled: Any = fusing.compiled(fusing._twice)(one)
        assert torch.equal(doubled, 2 * one)
        assert not doubled.requires_grad


def test_what_a_compiler_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: object) -> object:
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(fusing, "compiled", broken)
    assert fusing.problem_on(torch.device("cpu")) == "no compiler"
