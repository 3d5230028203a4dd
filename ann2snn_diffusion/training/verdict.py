"""Whether a training made a network better: at its budget, if there is one, and nearer to its ANN.

The error is the geometric mean over noise strata, as training sees it: a percent counts the same at every noise level.
"""

from __future__ import annotations

from ann2snn_diffusion.evaluation.fidelity_report import FidelityReport
from ann2snn_diffusion.training.spec import TrainingSpec

WITHIN = 0.03
"""Of a budget: what spends no more than that beyond it is at it."""


def energy_spent(report: FidelityReport, spec: TrainingSpec) -> float:
    """Share of the ANN's energy, by the table that the budget is told in."""
    return report.costs.energy(spec.costs).share


def keeps_budget(report: FidelityReport, spec: TrainingSpec) -> bool:
    """Whether a network spends no more than it may; always, where there is no budget."""
    return spec.energy is None or energy_spent(report, spec) <= (1 + WITHIN) * spec.energy


def improved(before: FidelityReport, after: FidelityReport, spec: TrainingSpec) -> bool:
    """Whether ``after`` is better: the one that keeps its budget; of two that do, less error, of two that do not, less
    energy."""
    kept = keeps_budget(before, spec), keeps_budget(after, spec)
    if kept[0] != kept[1]:
        return kept[1]
    if not kept[0]:
        return energy_spent(after, spec) < energy_spent(before, spec)
    return not after.geometric_error >= before.geometric_error  # than no number, too
