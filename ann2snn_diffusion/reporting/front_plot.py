"""The front of error over energy, as a picture and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

from ann2snn_diffusion.evaluation.noise_strata import LOW_NOISE
from ann2snn_diffusion.reporting.costs_table import ENERGY_NOTE

ERRORS = {"epsilon_error": "all diffusion timesteps", "epsilon_error_low_noise": f"below {LOW_NOISE}"}


def plot_front(path: Path, networks: Sequence[Mapping[str, float]], title: str) -> None:
    """Relative ε error over the energy that was counted, a point a network.

    Args:
        networks: ``energy_share``, ``epsilon_error`` and ``epsilon_error_low_noise`` of each.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    energies = [one["energy_share"] for one in networks]
    for field, label in ERRORS.items():
        axes.plot(energies, [one[field] for one in networks], "o-", markersize=4, label=label)
    axes.set_yscale("log")
    axes.set_xlim(left=0)
    axes.set_ylabel("relative ε error to the ANN")
    axes.set_xlabel(f"energy of the synapses, share of the ANN's\n{ENERGY_NOTE}", fontsize=9)
    axes.set_title(f"{title}: error over energy", fontsize=10, loc="left")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=150)


def front_table(networks: Sequence[Mapping[str, float]]) -> Table:
    """A row a network, by the figures that `plot_front` takes and ``energy``, ``energy_share_all``,
    ``energy_share_memory`` and ``spikes_per_neuron``."""
    rows = Table(
        "energy asked", "counted", "with element-wise work", "and memory traffic", "spikes per activation",
        "relative ε error", ERRORS["epsilon_error_low_noise"], box=SIMPLE_HEAD,
    )  # fmt: skip
    for one in networks:
        shares = (one[field] for field in ("energy_share", "energy_share_all", "energy_share_memory"))
        rows.add_row(
            f"{one['energy']:g}", *(f"{share:.3f}" for share in shares), f"{one['spikes_per_neuron']:.2f}",
            *(f"{one[field]:.5f}" for field in ERRORS),
        )  # fmt: skip
    return rows
