"""Programs on disk: .pt2, which torch runs, and .onnx, which onnxruntime runs; what is known of them lies inside."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ann2snn_diffusion.common.errors import first_line
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.spiking.programs import BATCH, ExportError

Format = Literal["torch", "onnx"]
SUFFIXES: Mapping[Format, str] = {"torch": ".pt2", "onnx": ".onnx"}
METADATA = "metadata.json"
"""Name of the extra file of a .pt2 program, and of an .onnx program's property, that holds the metadata as JSON."""
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
LARGEST_ONNX = 2**31
"""Bytes of weights that one .onnx file holds."""
Run = Callable[[Mapping[str, Tensor]], Any]
"""Of the inputs of a program by name, what it gives."""


def require_format(file: Path, kind: Format) -> None:
    """Check before any work that a program of this kind can be written to ``file``.

    Raises:
        SpecError: no such kind, or a file name of another.
        ExportError: a package is missing.
    """
    require(kind in SUFFIXES, "kind", kind, f"one of {', '.join(SUFFIXES)}")
    require(file.suffix == SUFFIXES[kind], "output", str(file), f"a name that ends in {SUFFIXES[kind]}")
    for package in ONNX_PACKAGES if kind == "onnx" else ():
        try:
            import_module(package)
        except ImportError:
            wanted = "pip install 'ann2snn-diffusion[onnx]'"
            raise ExportError(f"An .onnx file needs {package}, which is not installed: {wanted}.") from None


def save_program(file: Path, program: ExportedProgram, metadata: Mapping[str, Any], kind: Format) -> None:
    """Write a program and what is known of it.

    Raises:
        ExportError: an operation, or so many weights, that an .onnx file cannot hold.
    """
    as_json = json.dumps(metadata, indent=1, ensure_ascii=False)
    if kind == "torch":
        torch.export.save(program, file, extra_files={METADATA: as_json})
    else:
        _save_onnx(file, program, as_json)


def loaded_program(file: Path, kind: Format) -> tuple[Run, dict[str, Any]]:
    """A program that `save_program` wrote, to be run on the CPU, and what is known of it."""
    return _loaded_torch(file) if kind == "torch" else _loaded_onnx(file)


def _loaded_torch(file: Path) -> tuple[Run, dict[str, Any]]:
    extra = {METADATA: ""}
    module = torch.export.load(file, extra_files=extra).module()
    return lambda inputs: module(*inputs.values()), json.loads(extra[METADATA])


def _loaded_onnx(file: Path) -> tuple[Run, dict[str, Any]]:
    from onnxruntime import InferenceSession  # pyright: ignore[reportMissingImports]

    session = InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        (prediction,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        return torch.from_numpy(prediction)

    return run, json.loads(session.get_modelmeta().custom_metadata_map[METADATA])


def _save_onnx(file: Path, program: ExportedProgram, metadata: str) -> None:
    weights = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    if weights >= LARGEST_ONNX:
        raise ExportError(
            f"The network has {weights >> 20} MiB of weights, and an .onnx file holds 2048: write a .pt2."
        )
    names = [spec.arg.name for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that all inputs have one batch, and the like
        try:
            written = torch.onnx.export(
                program, (), input_names=names, output_names=["prediction"],
                dynamic_shapes={name: {0: BATCH} for name in names}, dynamo=True, verbose=False,
                optimize=False,  # takes ten times as long as the rest, and onnxruntime does it when it loads
            )  # fmt: skip
        except RuntimeError as error:
            raise ExportError(f"The network cannot be written as ONNX: {first_line(error)}") from error
    assert written is not None
    for node in written.model.graph:
        node.metadata_props.clear()  # where the code lies that asked for it
    written.model.metadata_props[METADATA] = metadata
    written.save(file)
