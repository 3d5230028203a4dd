"""Fidelity as tables for the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ann2snn_diffusion.evaluation.fidelity_report import FidelityReport
from ann2snn_diffusion.reporting.costs_table import ENERGY_NOTE, costs_line
from ann2snn_diffusion.reporting.digits import significant
from ann2snn_diffusion.spiking.spec import SpikeSpec

UNSPENT = 0.97
"""Share of its energy below which a network that spends less says so."""
WIDE = 120
"""Columns of a terminal from which thresholds and offsets are shown too."""
SHOWN_SITES = 5


def print_conversion(
    console: Console, report: FidelityReport, spec: SpikeSpec, energy: float = 0, *, verbose: bool = False
) -> None:
    """The totals, and above them the sites of largest error, or all of them where ``verbose``.

    Args:
        energy: share of the ANN's energy that was asked for; 0: none.
    """
    console.print(site_table(report, spec.coding, console.width >= WIDE, None if verbose else SHOWN_SITES))
    total = sum(synapse.operations for synapse in report.synapses)
    doubled = sum(site.doubled for site in report.sites)
    console.print(
        f"{len(report.sites)} sites spike{f', {doubled} with two neurons a membrane' if doubled else ''}; "
        f"{spec.coding} coding, T = {spec.time_steps}, {spec.schedule}\n"
        f"relative ε error to the ANN: {error_line(report)}\n"
        f"spikes drive {report.spike_driven:.2%} of the ANN's {total / 1e6:.1f} M multiply-accumulates",
        soft_wrap=True,
    )
    console.print(costs_line(report.costs), soft_wrap=True)
    spent = report.costs.energy().share
    if spent < UNSPENT * energy:
        console.print(
            f"It spends {spent:.3f} of the {energy:g} that it may: all of its digits are in use.",
            soft_wrap=True,
        )


def error_line(report: FidelityReport) -> str:
    """Relative ε error over all diffusion timesteps, with its interval where there is one, and at low noise."""
    within = "" if report.epsilon_error_within is None else f" ± {significant(report.epsilon_error_within, 1)}"
    low = f"{significant(report.epsilon_error_low_noise)} at diffusion timesteps below {report.low_noise_end}"
    return f"{significant(report.epsilon_error)}{within} over all diffusion timesteps, {low}"


def site_table(report: FidelityReport, coding: str, wide: bool = True, shown: int | None = None) -> Table:
    """A row a site, spiking or analog, ``spikes`` per activation; or the ``shown`` ones of largest error, those first.

    Without θ and offset in a terminal not ``wide``.
    """
    ranges = ["θ", "offset"] if wide else []
    columns = ("site", "emits", *ranges, "firing rate", "spikes", "saturation", "error to ANN")
    title = None if shown is None else f"The {min(shown, len(report.sites))} sites of largest relative error"
    rows = Table(*columns, title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in rows.columns:
        column.no_wrap = True
    spikes = {site.name: site.spikes_per_neuron for site in report.costs.sites}
    sites = report.sites if shown is None else sorted(report.sites, key=lambda site: -site.error)[:shown]
    for site in sites:
        extremes = [f"{low:.3g} … {high:.3g}" for low, high in (site.threshold, site.offset)] if wide else []
        rows.add_row(
            site.name.removesuffix(".neuron").replace(".processor", ""),
            f"{'2 ' if site.doubled else ''}{coding}{', ±' if site.signed else ''}",
            *extremes,
            f"{site.firing_rate:.3f}",
            f"{spikes[site.name]:.2f}",
            f"{site.saturation:.2%}",
            f"{site.error:.1e}",
        )
    for synapse in report.synapses if shown is None else ():
        if synapse.driven_by == "analog":
            rows.add_row(synapse.name, "[dim]analog", *["[dim]–"] * (len(rows.columns) - 2))
    return rows


def stratum_table(report: FidelityReport) -> Table:
    """Relative ε error, a column a noise stratum."""
    columns = [f"{stratum.start}" for stratum in report.strata]
    rows = Table("diffusion timestep from", *columns, box=SIMPLE_HEAD)
    rows.add_row("relative ε error, ‰", *(f"{1000 * stratum.epsilon_error:.2g}" for stratum in report.strata))
    return rows


def print_before_and_after(console: Console, before: FidelityReport, after: FidelityReport) -> None:
    """Relative ε error by noise stratum before and after a training, then the totals."""
    rows = Table("diffusion timesteps", "relative ε error, before", "after", "ratio", box=SIMPLE_HEAD)
    for old, new in zip(before.strata, after.strata, strict=True):
        errors = old.epsilon_error, new.epsilon_error
        rows.add_row(f"{old.start} … {old.stop - 1}", *(significant(error) for error in errors), _ratio(*errors))
    errors = before.geometric_error, after.geometric_error
    rows.add_row("geometric mean", *(significant(error) for error in errors), _ratio(*errors))
    console.print(rows)
    old, new = before.figures(), after.figures()
    for name, field in {
        "relative ε error, all diffusion timesteps": "epsilon_error",
        f"relative ε error below {after.low_noise_end}": "epsilon_error_low_noise",
        "mean firing rate": "firing_rate",
        "spikes per activation": "spikes_per_neuron",
        "energy, share of the ANN's": "energy_share",
        "with element-wise work": "energy_share_all",
        "and memory traffic": "energy_share_memory",
    }.items():
        figures = old[field], new[field]
        before_and_after = " → ".join(significant(figure, 3) for figure in figures)
        console.print(f"{name}: {before_and_after} ({_ratio(*figures)})", soft_wrap=True)
    console.print(ENERGY_NOTE, soft_wrap=True)


def _ratio(before: float, after: float) -> str:
    return f"{after / before:.2f} ×" if before else "–"
