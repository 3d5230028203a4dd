import pytest
from accelerate import Accelerator

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.training.run import TrainingRun


def test_a_run_resumes_or_finishes() -> None:
    with pytest.raises(SpecError, match=r"finish = 'latest': expected none beside `resume`"):
        TrainingRun(Accelerator(cpu=True), resume="latest", finish="latest")
