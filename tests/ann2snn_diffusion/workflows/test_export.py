import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler

from ann2snn_diffusion import activation_of_spikes, export, export_to_file
from ann2snn_diffusion.common.atomic_output import OutputError
from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.diffusion.conditioning import ConditionError
from ann2snn_diffusion.models.program_file import loaded_program
from ann2snn_diffusion.spiking.programs import ExportError, Prediction, to_export
from tests.ann2snn_diffusion.workflows.exported import as_converted, run_without_us, tiny_network, write_reference

PAGE = (Path(__file__).parents[3] / "docs" / "export.md").read_text()
TORCH, ONNX, SPIKES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
workflow: Any = importlib.import_module("ann2snn_diffusion.workflows.export")

COMPARED = """
reference = np.load("reference.npz")
for rows in (slice(1), slice(5)):
    found = run(reference["sample"][rows], reference["timestep"][rows])
    np.testing.assert_allclose(found, reference["prediction"][rows], rtol=1e-4, atol=1e-5)
"""
IN_TORCH = """
import numpy as np

def run(sample, timestep):
    found = network(torch.from_numpy(sample), torch.from_numpy(timestep))
    return found["prediction"] if isinstance(found, dict) else found
"""
IN_ONNXRUNTIME = """
def run(sample, timestep):
    return session.run(["prediction"], {"sample": sample, "timestep": timestep})[0]
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A guided network as ``snn.pt2``, and what it gives for a few states."""
    folder, snn = tmp_path_factory.mktemp("exported"), tiny_network()
    write_reference(snn, folder)
    agreement = export_to_file(as_converted(snn), folder / "snn.pt2")
    assert max(errors.max() for errors in agreement.by_batch.values()) < 1e-9
    return folder


def test_torch_alone_runs_a_program_as_the_page_says(exported: Path) -> None:
    run_without_us(TORCH + "assert prediction.shape == noisy.shape\n" + IN_TORCH + COMPARED, exported)


def test_a_program_says_what_it_is_and_nothing_of_this_machine(exported: Path) -> None:
    run, known = loaded_program(exported / "snn.pt2", "torch")
    assert known["inputs"] == {
        "sample": {"shape": ["batch", 1, 8, 8], "dtype": "float32"},
        "timestep": {"shape": ["batch"], "dtype": "int64"},
    }
    assert (known["source"], known["predicts"], known["largest_batch"]) == ("tiny", "epsilon", 63)
    assert (known["time_steps"], known["coding"], known["guidance"]["stage.up"]) == (2, "radix", 1.1)
    assert known["scheduler"]["_class_name"] == "DDPMScheduler"
    assert run({"sample": torch.zeros(63, 1, 8, 8), "timestep": torch.zeros(63, dtype=torch.long)}).shape[0] == 63
    for place in (str(Path(workflow.__file__).parents[2]), "site-packages"):
        assert place.encode() not in (exported / "snn.pt2").read_bytes()


@pytest.mark.slow
def test_onnxruntime_alone_runs_a_program_as_the_page_says(exported: Path) -> None:
    pytest.importorskip("onnxruntime")
    export_to_file(as_converted(tiny_network()), exported / "snn.onnx", kind="onnx")
    shape = "assert prediction.shape == noisy.shape\n"
    run_without_us(ONNX + shape + IN_ONNXRUNTIME + COMPARED, exported, "torch", "onnx")
    assert b"site-packages" not in (exported / "snn.onnx").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [{}, {"guidance": 1.0, "coding": "rate", "schedule": "synchronous", "doubled": ("conv_out",), "leak": 0.9}],
    ids=["guided radix", "synchronous"],
)
def test_spikes_are_given_and_decoded_as_the_page_says(spec: dict[str, Any], tmp_path: Path) -> None:
    snn = tiny_network(**spec)
    write_reference(snn, tmp_path)
    export_to_file(as_converted(snn), tmp_path / "trains.pt2", spikes=True)
    run_without_us(SPIKES + IN_TORCH + COMPARED, tmp_path)
    run, known = loaded_program(tmp_path / "trains.pt2", "torch")
    found = run({"sample": torch.ones(3, 1, 8, 8), "timestep": torch.tensor([0, 499, 999])})
    assert known["sites"].keys() == found["sites"].keys() == snn.neurons().keys()
    for name, neuron in snn.neurons().items():
        told, site = known["sites"][name], {part: value.numpy() for part, value in found["sites"][name].items()}
        assert site["spikes"].shape[0] == len(told["step_weights"]) == len(neuron.weights)
        decoded = activation_of_spikes(site["spikes"], site["threshold"], site["offset"], told["step_weights"])
        assert abs(decoded - site["activation"]).max() < 1e-5 * site["threshold"].max()


@pytest.mark.slow
def test_labels_and_conditions_are_inputs_of_a_program() -> None:
    labelled = tiny_network(unet={"num_class_embeds": 3, "in_channels": 3})
    condition = torch.linspace(-1, 1, 128).view(1, 2, 8, 8)
    program = export(labelled, DDPMScheduler(), condition=condition).module()
    arguments = torch.ones(4, 3, 8, 8), torch.tensor([1, 400, 600, 999]), torch.tensor([0, 1, 2, 2])
    with torch.no_grad():
        assert torch.equal(program(*arguments), Prediction(to_export(labelled))(*arguments))


def test_a_condition_that_is_missing_is_asked_for() -> None:
    with pytest.raises(ConditionError, match="in_channels = 3"):
        export(tiny_network(unet={"in_channels": 3}), DDPMScheduler())


def test_a_program_that_gives_something_else_is_not_left_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    guided, of_file = tiny_network(guidance={"segment.500": 0.5}), workflow.loaded_program

    def unguided(file: Path, kind: Any) -> Any:
        _, known = of_file(file, kind)
        plain = Prediction(to_export(tiny_network(guidance=1.0)))
        return lambda inputs: plain(*inputs.values()), known

    monkeypatch.setattr(workflow, "loaded_program", unguided)
    with pytest.raises(ExportError, match="does not give what the network gives: relative error") as refused:
        export_to_file(as_converted(guided), tmp_path / "snn.pt2")
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(workflow, "to_export", lambda _: pytest.fail("work was done"))
    converted = as_converted(tiny_network())
    (tmp_path / "mine.pt2").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        export_to_file(converted, tmp_path / "mine.pt2")
    with pytest.raises(OutputError, match="in a folder that exists"):
        export_to_file(converted, tmp_path / "nowhere" / "snn.pt2")
    with pytest.raises(SpecError, match=r"ends in \.pt2"):
        export_to_file(converted, tmp_path / "snn.onnx")
    with pytest.raises(SpecError, match="no `kind` onnx beside it"):
        export_to_file(converted, tmp_path / "snn.onnx", kind="onnx", spikes=True)
    assert (tmp_path / "mine.pt2").read_text() == "mine"
