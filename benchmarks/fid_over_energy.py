"""FID over energy: every network of a front beside their ANN, and beside what SDDPM's authors state of theirs.

a2s convert fashion-mnist --front 0.15,0.25,0.35
python -m benchmarks.fid_over_energy fashion-mnist-front [-n 2000] [-o docs]
Images of the ANN are drawn once, all are kept in FRONT/images: an interrupted run goes on. Writes fid_over_energy.json
and .png.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from matplotlib.figure import Figure

from ann2snn_diffusion import EvaluationSpec, bundled_data, evaluate, load_converted
from ann2snn_diffusion.evaluation.figures import ANN, SNN
from ann2snn_diffusion.reporting.terminal import following
from benchmarks.black_pixels import greyer_black

SDDPM = {"energy_share": 0.375, "times": 19.73 / 19.04}
"""Of CIFAR-10 at T = 4, counted by mean firing rates: arXiv 2408.16467, section 5, and 2306.17046, table 1."""


def main(
    front: Annotated[Path, typer.Argument(help="Folder that a2s convert --front wrote.")],
    count: Annotated[int, typer.Option("-n", help="Images of each network.")] = 2000,
    batch_size: Annotated[int, typer.Option(help="Images at a time.")] = 50,
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("docs"),
) -> None:
    """Evaluate each network and draw the plot."""
    rows, real = [], bundled_data(1, (32, 32))
    spec = EvaluationSpec(count=count, batch_size=batch_size)
    for folder in sorted(front.glob("energy-*"), key=lambda place: float(place.name.removeprefix("energy-"))):
        converted = load_converted(folder)
        with following() as track:
            found = evaluate(converted.unet, converted.scheduler, spec=spec, real=real,
                             shards=front / "images", track=track)  # fmt: skip
        assert found is not None
        assert found.distribution is not None
        fids = {name: found.distribution.quality[name].fid for name in (ANN, SNN)}
        rows.append({
            "energy_share": found.fidelity.costs.energy().share,
            "fid": fids[SNN],
            "ann_fid": fids[ANN],
            "times": fids[SNN] / fids[ANN],
            "difference": found.distribution.fid_difference,
            "interval": found.distribution.fid_difference_interval,
            "psnr": found.images.psnr,
            "black": greyer_black(found.drawn[ANN], found.drawn[SNN]),
        })  # fmt: skip
        print(json.dumps(rows[-1]))
    output.mkdir(parents=True, exist_ok=True)
    (output / "fid_over_energy.json").write_text(json.dumps({"count": count, "networks": rows}, indent=1) + "\n")
    plot(output / "fid_over_energy.png", rows, count)


def plot(path: Path, rows: list[dict[str, Any]], count: int) -> None:
    """FID, in multiples of the ANN's, over the share of its energy."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    energies = [row["energy_share"] for row in rows]
    low, high = ([1 + row["interval"][end] / row["ann_fid"] for row in rows] for end in (0, 1))
    axes.fill_between(energies, low, high, alpha=0.2, color="tab:orange", linewidth=0)
    axes.plot(energies, [row["times"] for row in rows], "o-", color="tab:orange", label="ours, training-free, counted")
    axes.plot(SDDPM["energy_share"], SDDPM["times"], "s", color="tab:grey",
              label="SDDPM, trained, CIFAR-10: its authors' count")  # fmt: skip
    axes.axhline(1, color="tab:blue", linewidth=1, label="the ANN")
    axes.set_xlim(left=0)
    axes.set_xlabel("energy of the synapses, share of the ANN's (45 nm, float32; counted, not measured on hardware)")
    axes.set_ylabel("FID, times the ANN's")
    axes.set_title(f"Bundled model, T = 4, {count:,} images, DDIM, 25 steps", loc="left", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    typer.run(main)
