"""Plots of an evaluation as PNG."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from ann2snn_diffusion.common.atomic_output import make_folder
from ann2snn_diffusion.evaluation.figures import Evaluation
from ann2snn_diffusion.evaluation.noise_strata import NoiseStratum
from ann2snn_diffusion.evaluation.site_statistics import SiteReport
from ann2snn_diffusion.reporting.image_grids import save_grids
from ann2snn_diffusion.reporting.picture import picture

PLOTS = ("samples.png", "error.png", "sites.png")


def save_plots(folder: Path, evaluation: Evaluation, shown: int = 64) -> None:
    """`PLOTS` in ``folder``.

    Raises:
        OutputError: the folder cannot be made.
    """
    make_folder(folder)
    settings, fidelity = evaluation.settings, evaluation.fidelity
    grids = {f"{title}, {settings['steps']} steps": drawn[:shown] / 255 for title, drawn in evaluation.drawn.items()}
    with picture(folder / "samples.png") as file:
        save_grids(file, grids, columns=16)
    title = f"{settings['ann']}, {settings['spiking']['coding']}, T = {settings['spiking']['time_steps']}"
    with picture(folder / "error.png") as file:
        plot_error_over_noise(file, fidelity.strata, f"{title}: relative ε error over the noise level")
    with picture(folder / "sites.png") as file:
        plot_sites(file, fidelity.sites, f"{title}: what each site hands on, in order of execution")


def plot_error_over_noise(path: Path, strata: tuple[NoiseStratum, ...], title: str) -> None:
    """Relative ε error over the diffusion timestep, one step a noise stratum."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    edges = [stratum.start for stratum in strata] + [strata[-1].stop]
    axes.stairs([stratum.epsilon_error for stratum in strata], edges, linewidth=2, color="tab:blue", baseline=None)
    axes.set_yscale("log")
    axes.set_xscale("symlog", linthresh=100, linscale=1.5)
    ticks = [0, 25, 50, 100, 200, 400, edges[-1]]
    axes.set_xticks([tick for tick in ticks if tick <= edges[-1]], labels=[str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(0, edges[-1])
    axes.set_xlabel("diffusion timestep (0: clean image)")
    axes.set_ylabel("relative ε error")
    axes.set_title(title, fontsize=10, loc="left")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def plot_sites(path: Path, sites: tuple[SiteReport, ...], title: str) -> None:
    """For every site, in execution order, what its value shares with the ANN's: 1 − correlation."""
    figure = Figure(figsize=(8, 1.2 + 0.19 * len(sites)), layout="constrained")
    axes = figure.subplots()
    names = [site.name.removesuffix(".neuron").replace(".processor", "") for site in sites]
    lost = [max(1 - site.correlation, 1e-6) for site in sites]
    axes.barh(range(len(sites)), lost, color="tab:blue", height=0.7)
    axes.set_xscale("log")
    axes.set_yticks(range(len(sites)), labels=names, fontsize=7)
    axes.set_ylim(len(sites) - 0.4, -0.6)
    axes.set_xlabel("1 − correlation of SNN and ANN")
    axes.set_title(title, fontsize=10, loc="left")
    axes.grid(alpha=0.3, axis="x")
    figure.savefig(path, dpi=150)
