import pytest
from accelerate import Accelerator

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.training import run
from ann2snn_diffusion.training.run import TrainingRun, accelerator_for
from ann2snn_diffusion.training.spec import TrainingSpec


def test_a_run_resumes_or_finishes() -> None:
    with pytest.raises(SpecError, match=r"finish = 'latest': expected none beside `resume`"):
        TrainingRun(Accelerator(cpu=True), resume="latest", finish="latest")


def test_neurons_are_fused_only_where_something_can_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "problem_on", lambda device: "no g++")
    accelerator_for(TrainingSpec(fused=False))
    accelerator_for(TrainingSpec())
    with pytest.raises(SpecError, match=r"fused = True: expected false: torch.compile does not work here \(no g\+\+\)"):
        accelerator_for(TrainingSpec(fused=True))
