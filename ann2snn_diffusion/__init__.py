"""Pretrained diffusers DDPMs become spiking U-Nets at 4 time steps.

Importing this package makes `SpikingUNet2DModel` known to diffusers pipelines. Names are loaded on first use, so that
``a2s --help`` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ann2snn_diffusion.common.versions import version_of

if TYPE_CHECKING:
    __version__: str

    from ann2snn_diffusion.evaluation.cost_tables import CostTable, cost_table
    from ann2snn_diffusion.evaluation.costs import Costs
    from ann2snn_diffusion.evaluation.fidelity import FidelitySpec
    from ann2snn_diffusion.evaluation.figures import Evaluation
    from ann2snn_diffusion.evaluation.real_data import RealData, bundled_data, real_data
    from ann2snn_diffusion.evaluation.records import read_evaluation
    from ann2snn_diffusion.evaluation.spec import EvaluationSpec
    from ann2snn_diffusion.models.loading import Converted, Source, load_converted, load_source
    from ann2snn_diffusion.models.pipeline import UNetPipeline
    from ann2snn_diffusion.reporting.page.report import Report
    from ann2snn_diffusion.search.result import Search
    from ann2snn_diffusion.search.spec import SearchSpec
    from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
    from ann2snn_diffusion.spiking.decoding import activation_of_spikes
    from ann2snn_diffusion.spiking.folding import fold
    from ann2snn_diffusion.spiking.modes import analog, fused
    from ann2snn_diffusion.spiking.rules import Site, spiking_synapse, to_spiking
    from ann2snn_diffusion.spiking.spec import SpikeSpec
    from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
    from ann2snn_diffusion.training.loop import Lesson
    from ann2snn_diffusion.training.run import TrainingRun, accelerator_for
    from ann2snn_diffusion.training.spec import TrainingSpec
    from ann2snn_diffusion.workflows.convert import Conversion, convert, convert_source, convert_to_folder
    from ann2snn_diffusion.workflows.evaluate import evaluate, evaluate_to_folder
    from ann2snn_diffusion.workflows.export import export, export_to_file
    from ann2snn_diffusion.workflows.finetune import Finetuning, finetune, finetune_to_folder
    from ann2snn_diffusion.workflows.inspect import inspect, inspect_to_folder
    from ann2snn_diffusion.workflows.report import report, report_to_file
    from ann2snn_diffusion.workflows.result_folder import Writing
    from ann2snn_diffusion.workflows.search_thresholds import search_thresholds, search_thresholds_to_folder

HOMES = {
    "ann2snn_diffusion.evaluation.cost_tables": ("CostTable", "cost_table"),
    "ann2snn_diffusion.evaluation.costs": ("Costs",),
    "ann2snn_diffusion.evaluation.fidelity": ("FidelitySpec",),
    "ann2snn_diffusion.evaluation.figures": ("Evaluation",),
    "ann2snn_diffusion.evaluation.real_data": ("RealData", "bundled_data", "real_data"),
    "ann2snn_diffusion.evaluation.records": ("read_evaluation",),
    "ann2snn_diffusion.evaluation.spec": ("EvaluationSpec",),
    "ann2snn_diffusion.models.loading": ("Converted", "Source", "load_converted", "load_source"),
    "ann2snn_diffusion.models.pipeline": ("UNetPipeline",),
    "ann2snn_diffusion.reporting.page.report": ("Report",),
    "ann2snn_diffusion.search.result": ("Search",),
    "ann2snn_diffusion.search.spec": ("SearchSpec",),
    "ann2snn_diffusion.spiking.calibration_spec": ("CalibrationSpec",),
    "ann2snn_diffusion.spiking.decoding": ("activation_of_spikes",),
    "ann2snn_diffusion.spiking.folding": ("fold",),
    "ann2snn_diffusion.spiking.rules": ("Site", "spiking_synapse", "to_spiking"),
    "ann2snn_diffusion.spiking.spec": ("SpikeSpec",),
    "ann2snn_diffusion.spiking.modes": ("analog", "fused"),
    "ann2snn_diffusion.spiking.unet": ("SpikingUNet2DModel",),
    "ann2snn_diffusion.training.loop": ("Lesson",),
    "ann2snn_diffusion.training.run": ("TrainingRun", "accelerator_for"),
    "ann2snn_diffusion.training.spec": ("TrainingSpec",),
    "ann2snn_diffusion.workflows.convert": ("Conversion", "convert", "convert_source", "convert_to_folder"),
    "ann2snn_diffusion.workflows.evaluate": ("evaluate", "evaluate_to_folder"),
    "ann2snn_diffusion.workflows.export": ("export", "export_to_file"),
    "ann2snn_diffusion.workflows.finetune": ("Finetuning", "finetune", "finetune_to_folder"),
    "ann2snn_diffusion.workflows.inspect": ("inspect", "inspect_to_folder"),
    "ann2snn_diffusion.workflows.report": ("report", "report_to_file"),
    "ann2snn_diffusion.workflows.result_folder": ("Writing",),
    "ann2snn_diffusion.workflows.search_thresholds": ("search_thresholds", "search_thresholds_to_folder"),
    # A pipeline loads a class of another package only where that package names the base class that it knows.
    "diffusers": ("ModelMixin",),
}
"""Where each public name lives."""
__all__ = [
    "CalibrationSpec",
    "Conversion",
    "Converted",
    "CostTable",
    "Costs",
    "Evaluation",
    "EvaluationSpec",
    "FidelitySpec",
    "Finetuning",
    "Lesson",
    "RealData",
    "Report",
    "Search",
    "SearchSpec",
    "Site",
    "Source",
    "SpikeSpec",
    "SpikingUNet2DModel",
    "TrainingRun",
    "TrainingSpec",
    "UNetPipeline",
    "Writing",
    "accelerator_for",
    "activation_of_spikes",
    "analog",
    "bundled_data",
    "convert",
    "convert_source",
    "convert_to_folder",
    "cost_table",
    "evaluate",
    "evaluate_to_folder",
    "export",
    "export_to_file",
    "finetune",
    "finetune_to_folder",
    "fold",
    "fused",
    "inspect",
    "inspect_to_folder",
    "load_converted",
    "load_source",
    "read_evaluation",
    "real_data",
    "report",
    "report_to_file",
    "search_thresholds",
    "search_thresholds_to_folder",
    "spiking_synapse",
    "to_spiking",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version_of("ann2snn-diffusion")
    for module, names in HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
