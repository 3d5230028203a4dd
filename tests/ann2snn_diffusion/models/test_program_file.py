from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.models import program_file
from ann2snn_diffusion.models.program_file import loaded_program, require_format, save_program
from ann2snn_diffusion.spiking.programs import ExportError

KNOWN = {"source": "a model ü", "inputs": {"sample": {"shape": ["batch", 2]}}}


class Double(nn.Module):
    def forward(self, sample: Tensor) -> Tensor:
        return 2 * sample


@pytest.fixture
def program() -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=9)
    return torch.export.export(Double(), (torch.ones(2, 2),), dynamic_shapes={"sample": {0: batch}})


def test_what_is_known_of_a_program_is_read_back(program: torch.export.ExportedProgram, tmp_path: Path) -> None:
    file = tmp_path / "program.pt2"
    save_program(file, program, KNOWN, "torch")
    run, known = loaded_program(file, "torch")
    assert known == KNOWN
    assert run({"sample": torch.ones(5, 2)}).tolist() == [[2, 2]] * 5


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("snn.onnx", "torch", "expected a name that ends in .pt2"),
        ("snn", "torch", "expected a name that ends in .pt2"),
        ("snn.pt2", "onnx", "expected a name that ends in .onnx"),
        ("snn.nir", "nir", "expected one of torch, onnx"),
    ],
)
def test_a_file_name_says_what_is_in_it(name: str, kind: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        require_format(Path(name), kind)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_onnxscript(name: str) -> None:
        if name == "onnxscript":
            raise ImportError(name)

    monkeypatch.setattr(program_file, "import_module", without_onnxscript)
    require_format(Path("snn.pt2"), "torch")
    with pytest.raises(ExportError, match=r"needs onnxscript.*pip install 'ann2snn-diffusion\[onnx\]'"):
        require_format(Path("snn.onnx"), "onnx")


def test_more_weights_than_an_onnx_file_holds_are_refused(
    program: torch.export.ExportedProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_file, "LARGEST_ONNX", 0)
    with pytest.raises(ExportError, match=r"write a \.pt2"):
        save_program(tmp_path / "program.onnx", program, KNOWN, "onnx")
