"""The model card that travels with a converted model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ann2snn_diffusion.evaluation.report import ConversionReport
from ann2snn_diffusion.spiking.guidance import by_group

CARD = """---
library_name: diffusers
tags: [spiking-neural-network, unconditional-image-generation]
---
# Spiking U-Net at {time_steps} time steps

Converted from `{source}` by ann2snn_diffusion, seed {seed}. {coding} coding, {schedule} schedule.{trained}{guided}

| measured on sampling states that nothing was fitted to | |
|---|---|
| relative ε error to the ANN, all diffusion timesteps | {epsilon_error:.4f} |
| relative ε error to the ANN, diffusion timesteps below 50 | {epsilon_error_low_noise:.4f} |
| firing rate, per neuron and time step | {firing_rate:.3f} |
| synaptic operations driven by spikes | {spike_driven:.1%} |

```python
import ann2snn_diffusion  # diffusers finds the U-Net's class through this import
from diffusers import DDPMPipeline

DDPMPipeline.from_pretrained("this folder")().images[0]
```

`conversion_report.json` has every site; `samples.png` shows ANN and SNN from equal noise.
"""


def model_card(provenance: Mapping[str, Any], report: ConversionReport) -> str:
    """README.md of a converted model."""
    spiking, training = provenance["spiking"], provenance.get("training")
    trained = f" Fine-tuned for {training['steps']} steps of {training['train_batch_size']} states." if training else ""
    factors = [f"{group} {factor:g}" for group, factor in by_group(spiking["guidance"]).items() if factor != 1]
    return CARD.format(
        source=provenance["source"],
        trained=trained,
        guided=f" Threshold guidance: {', '.join(factors)}." if factors else "",
        seed=provenance["seed"],
        time_steps=spiking["time_steps"],
        coding=spiking["coding"].capitalize(),
        schedule=spiking["schedule"],
        epsilon_error=report.epsilon_error,
        epsilon_error_low_noise=report.epsilon_error_low_noise,
        firing_rate=report.firing_rate,
        spike_driven=report.spike_driven,
    )
