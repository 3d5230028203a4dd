"""What a training came to, in words."""

from __future__ import annotations

from collections.abc import Iterator

from ann2snn_diffusion.evaluation.fidelity_report import FidelityReport
from ann2snn_diffusion.training.spec import TrainingSpec
from ann2snn_diffusion.training.verdict import WITHIN, energy_spent


def verdict_lines(improved: bool | None, report: FidelityReport, spec: TrainingSpec) -> Iterator[str]:
    """What is to be said of a training, and of the network that is handed out.

    Args:
        improved: whether what was trained is better; None: the error to its ANN does not tell.
        report: of what is handed out.
    """
    if improved is False and spec.even_if_worse:
        yield "No better than before, and handed out all the same."
    elif improved is False:
        yield (
            "No better than before, so the network is handed out as it was; train for more steps, or at a lower "
            "--learning-rate. --even-if-worse hands out what was trained."
        )
    if spec.energy is not None and abs(energy_spent(report, spec) / spec.energy - 1) > WITHIN:
        spent = energy_spent(report, spec)
        yield f"It spends {spent:.3f} of the ANN's energy, not {spec.energy:g}: train for more steps."
