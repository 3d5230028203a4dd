"""Pictures of what fires and what it costs, as PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from ann2snn_diffusion.common.atomic_output import make_folder
from ann2snn_diffusion.evaluation.cost_tables import CostTable
from ann2snn_diffusion.evaluation.costs import Costs
from ann2snn_diffusion.reporting.costs_table import ENERGY_NOTE
from ann2snn_diffusion.reporting.picture import picture

PLOTS = ("energy.png", "spikes.png", "raster.png", "trains.png")
"""What `save_cost_plots` writes."""
ROW = 0.19
"""Inches for a row with a name in front."""
SMALL = 1e-3
"""Share of the ANN's energy below which a layer has no bar."""
GAP = 4
"""Empty places between two firing steps of a raster."""


def save_cost_plots(folder: Path, costs: Costs, table: CostTable, title: str) -> None:
    """All of `PLOTS` in ``folder``.

    Raises:
        OutputError: the folder cannot be made.
    """
    make_folder(folder)
    energy, spikes, raster, trains = (folder / name for name in PLOTS)
    with picture(energy) as file:
        plot_energy(file, costs, table, title)
    with picture(spikes) as file:
        plot_spikes(file, costs, title)
    with picture(raster) as file:
        plot_raster(file, costs, title)
    with picture(trains) as file:
        plot_trains(file, costs, title)


def plot_energy(path: Path, costs: Costs, table: CostTable, title: str) -> None:
    """Energy of each synapse that counts, SNN and ANN side by side, in the order of execution."""
    whole, energies = costs.energy(table), costs.layers(table)
    least = SMALL * whole.ann.synapses
    shown = {name: one for name, one in energies.items() if max(one.snn.synapses, one.ann.synapses) >= least}
    figure = Figure(figsize=(8, 1.8 + ROW * len(shown)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(shown))
    for shift, network, colour in ((-0.2, "ann", "tab:grey"), (0.2, "snn", "tab:orange")):
        spent = [getattr(energy, network).synapses / 1e6 for energy in shown.values()]
        axes.barh(rows + shift, spent, height=0.4, color=colour, label=network.upper())
    _name_rows(axes, list(shown))
    axes.set_xlabel(
        f"µJ per image and forward pass by {table.name}; {len(energies) - len(shown)} layers below {SMALL:.1%} are "
        f"left out\n{ENERGY_NOTE}",
        fontsize=8,
    )
    axes.set_title(f"{title}: energy of the synapses, {whole.share:.3f} of the ANN's", fontsize=10, loc="left")
    axes.grid(alpha=0.3, axis="x")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)


def plot_spikes(path: Path, costs: Costs, title: str) -> None:
    """Spikes per activation, a row a site, a column a noise stratum."""
    figure = Figure(figsize=(8, 1.6 + ROW * len(costs.sites)), layout="constrained")
    axes = figure.subplots()
    found = axes.imshow([site.by_stratum for site in costs.sites], aspect="auto", cmap="viridis", vmin=0)
    _name_rows(axes, [short(site.name) for site in costs.sites])
    axes.set_xticks(range(len(costs.strata)), labels=[str(start) for start in costs.strata], fontsize=8)
    axes.set_xlabel("diffusion timestep from (0: clean image)")
    axes.set_title(f"{title}: spikes per activation, mean {costs.spikes_per_neuron:.2f}", fontsize=10, loc="left")
    figure.colorbar(found, ax=axes, label="spikes of either sign per activation and forward pass")
    figure.savefig(path, dpi=150)


def plot_raster(path: Path, costs: Costs, title: str) -> None:
    """Spikes of a few neurons of each site in one state: a row a site, the same neurons at each firing step."""
    steps = max(len(spikes) for spikes in costs.raster.values())
    neurons = max(spikes.shape[1] for spikes in costs.raster.values())
    width = neurons + GAP
    picture = np.full((len(costs.raster), steps * width - GAP), np.nan)
    for row, spikes in enumerate(costs.raster.values()):
        for step, fired in enumerate(spikes.numpy()):
            picture[row, step * width : step * width + len(fired)] = fired
    figure = Figure(figsize=(2 + 1.1 * steps, 1.6 + ROW * len(costs.raster)), layout="constrained")
    axes = figure.subplots()
    colours = ListedColormap(["tab:blue", "gainsboro", "tab:red"])
    axes.imshow(picture, aspect="auto", cmap=colours, vmin=-1, vmax=1, interpolation="nearest")
    _name_rows(axes, [short(name) for name in costs.raster])
    centres = [step * width + (neurons - 1) / 2 for step in range(steps)]
    axes.set_xticks(centres, labels=[str(step + 1) for step in range(steps)])
    axes.set_xlabel(
        f"firing step; in each, the same {neurons} neurons of the site (red: +1, blue: −1, grey: silent)", fontsize=8
    )
    axes.set_title(f"{title}: spikes in one state", fontsize=10, loc="left")
    figure.savefig(path, dpi=150)


def plot_trains(path: Path, costs: Costs, title: str) -> None:
    """How many neurons fire 0, 1, … spikes in one forward pass."""
    longest = max(len(site.trains) for site in costs.sites)
    shares = np.zeros(longest)
    for site in costs.sites:
        shares[: len(site.trains)] += site.neurons * np.array(site.trains)
    shares /= max(1, sum(site.neurons for site in costs.sites))
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    bars = axes.bar(range(longest), 100 * shares, color="tab:orange")
    axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set_xticks(range(longest))
    axes.set_xlabel("spikes of either sign in one train")
    axes.set_ylabel("activations, %")
    axes.set_title(f"{title}: {costs.spikes_per_neuron:.2f} spikes per activation", fontsize=10, loc="left")
    axes.grid(alpha=0.3, axis="y")
    figure.savefig(path, dpi=150)


def short(site: str) -> str:
    """A site's name without what all of them share."""
    return site.removesuffix(".neuron").replace(".processor", "")


def _name_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), labels=names, fontsize=7)
    axes.set_ylim(len(names) - 0.4, -0.6)
