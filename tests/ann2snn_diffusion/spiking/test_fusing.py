import pytest
import torch

from ann2snn_diffusion.spiking import fusing


@pytest.mark.slow
def test_what_a_compiler_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fusing.problem_on(torch.device("cpu")) is None

    def broken(function: object) -> object:
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(fusing, "compiled", broken)
    assert fusing.problem_on(torch.device("cpu")) == "no compiler"
