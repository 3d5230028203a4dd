"""The model card that travels with a converted model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ann2snn_diffusion.evaluation.cost_tables import DEFAULT
from ann2snn_diffusion.evaluation.fidelity_report import FidelityReport
from ann2snn_diffusion.models.loading import Converted
from ann2snn_diffusion.reporting.costs_table import ENERGY_NOTE
from ann2snn_diffusion.reporting.digits import significant
from ann2snn_diffusion.spiking.guidance import by_group
from ann2snn_diffusion.spiking.spec import SpikeSpec

CARD = """---
library_name: diffusers
tags: [spiking-neural-network, unconditional-image-generation]
---
# Spiking U-Net at {time_steps} time steps

Converted from `{source}` by ann2snn_diffusion. {coding} coding, {schedule} schedule.{trained}{guided}{folded}

| measured on sampling states that nothing was fitted to | |
|---|---|
| relative ε error to the ANN, all diffusion timesteps | {error} |
| relative ε error to the ANN, diffusion timesteps below {low_noise_end} | {error_low_noise} |
| firing rate, per neuron and time step | {firing_rate:.3f} |
| spikes per activation, all time steps together | {spikes_per_neuron:.2f} |
| energy of the synapses, share of the ANN's | {energy_share:.3f} |
| with element-wise work and membrane updates | {energy_share_all:.3f} |
| and memory traffic | {energy_share_memory:.3f} |
| synaptic operations driven by spikes | {spike_driven:.1%} |

Energy: {note}, table {table}.

```python
{snippet}
```

`conversion_report.json` has every site, and every command with its settings; `samples.png` shows ANN and SNN from
equal noise.
"""


DIFFUSERS = """import ann2snn_diffusion  # diffusers finds the U-Net's class through this import
from diffusers import {pipeline}

{pipeline}.from_pretrained("."){call}.images[0]  # in this folder"""
OURS = """{imports}from ann2snn_diffusion import UNetPipeline

{beside}UNetPipeline.from_pretrained("."){call}.images[0]  # in this folder"""
FOLDED = """

Folded: one weight for each synapse, the ANN's with the correction added. The ANN is not in this folder; the figures are
the folded network's, measured beside its ANN before that was left out."""
STEPS = {
    "DDPMPipeline": 1000, "DDIMPipeline": 50, "LDMPipeline": 50, "ScoreSdeVePipeline": 2000,
    "ConsistencyModelPipeline": 1,
}  # fmt: skip
"""That pipelines of diffusers take by default."""


def model_card(converted: Converted, report: FidelityReport, pipeline: str) -> str:
    """README.md of a converted model, handed out in a pipeline of class ``pipeline``."""
    spec: SpikeSpec = converted.unet.spec
    trainings = [entry["settings"] for entry in converted.provenance if entry["command"] == "finetune"]
    told = [one for one in trainings if {"steps", "train_batch_size"} <= one.keys()]  # all that we wrote
    told = [one for one in told if one.get("handed_out") != "before"]
    trained = [f" Fine-tuned for {steps_told(*_steps(one))} of {one['train_batch_size']} states." for one in told]
    factors = [f"{group} {factor:g}" for group, factor in by_group(spec.guidance).items() if factor != 1]
    return CARD.format(
        source=converted.name,
        snippet=_snippet(converted, pipeline),
        trained="".join(trained),
        guided=f" Threshold guidance: {', '.join(factors)}." if factors else "",
        folded=FOLDED if converted.unet.folded else "",
        time_steps=spec.time_steps,
        coding=spec.coding.capitalize(),
        schedule=spec.schedule,
        note=ENERGY_NOTE,
        table=DEFAULT.name,
        **report.figures(),
        error=significant(report.epsilon_error),
        error_low_noise=significant(report.epsilon_error_low_noise),
        low_noise_end=report.low_noise_end,
        spike_driven=report.spike_driven,
    )


def steps_told(trained: int, asked: int) -> str:
    """How many steps a training took, and of how many, where a checkpoint was finished."""
    return f"{asked} steps" if trained == asked else f"{trained} of {asked} steps"


def _steps(training: Mapping[str, Any]) -> tuple[int, int]:
    asked = training["steps"]
    return training.get("trained_steps", asked), asked  # all of them, before a checkpoint could be finished


def _snippet(converted: Converted, pipeline: str) -> str:
    scheduler: Any = converted.scheduler
    most = scheduler.config["num_train_timesteps"]
    if pipeline in STEPS:
        call = f"(num_inference_steps={most})" if most < STEPS[pipeline] else "()"
        return DIFFUSERS.format(pipeline=pipeline, call=call)
    given = ["class_labels=[0]"] if converted.unet.config["num_class_embeds"] is not None else []
    if converted.condition is None:
        return OURS.format(imports="", beside="", call=f"({', '.join(given)})")
    channels, height, width = converted.condition.shape[1:]
    beside = f"condition = torch.zeros(1, {channels}, {height}, {width})  # what lies beside the noisy image\n"
    call = f"({', '.join([*given, 'condition=condition'])})"
    return OURS.format(imports="import torch\n\n", beside=beside, call=call)
