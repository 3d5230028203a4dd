"""Relative ε error over spikes per neuron of the bundled model, under every coding: which one to take.

python benchmarks/front.py [--states 176] [-o docs]
Converts at several energies each, without training, and writes codings.json, a coding at a time, and codings.png.
A run that was cut off goes on where codings.json ends.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure

from ann2snn_diffusion import CalibrationSpec, SpikeSpec, load_source
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec, fidelity_on, fidelity_states
from ann2snn_diffusion.reporting.terminal import following
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.workflows.conversion_settings import Settings
from ann2snn_diffusion.workflows.convert import recorded
from ann2snn_diffusion.workflows.energy_budget import calibrated_to

CASES = {
    "radix, two spikes a time step": SpikeSpec(),
    "radix": SpikeSpec(doubled=("conv_out",)),
    "radix, two, {0, 1} after activations": SpikeSpec(signed_activations=False),
    "ternary": SpikeSpec(coding="ternary", doubled=("conv_out",)),
    "rate": SpikeSpec(coding="rate", doubled=("conv_out",)),
    "rate, synchronous": SpikeSpec(coding="rate", schedule="synchronous", doubled=("conv_out",)),
}
ENERGIES = (0.1, 0.15, 0.25, 0.35)
FIDELITY = FidelitySpec(states_per_stratum=4)


def main(
    states: Annotated[int, typer.Option(help="That each network is calibrated on.")] = 176,
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("docs"),
) -> None:
    """Convert and measure each case at each energy."""
    output.mkdir(parents=True, exist_ok=True)
    source, file = load_source(), output / "codings.json"
    done = json.loads(file.read_text()) if file.exists() else {}
    fronts = done["fronts"] if done.get("states") == states else {}
    plain = SpikingUNet2DModel.from_unet(source.unet, SpikeSpec())
    judged = fidelity_states(plain, source.scheduler, spec=FIDELITY)
    for case, spec in CASES.items():
        if case in fronts:
            continue
        settings = [
            Settings.of(spec, CalibrationSpec(energy=energy, states=states), source.unet, source.scheduler)
            for energy in ENERGIES
        ]
        with following() as track:
            recording = recorded(source, settings[0], None, track)
            front = []
            for one in settings:
                unet = calibrated_to(one.calibration.energy or 0, recording, one.calibration, track)
                front.append(fidelity_on(unet, source.scheduler, judged, FIDELITY).figures())
        print(case, *(f"{one['spikes_per_neuron']:.2f}: {one['epsilon_error']:.2e}" for one in front), sep="  ")
        fronts[case] = front
        file.write_text(json.dumps({"states": states, "seed": 0, "fronts": fronts}, indent=1) + "\n")
    plot(output / "codings.png", fronts)


def plot(path: Path, fronts: dict[str, list[dict[str, float]]]) -> None:
    """Error over spikes, a line a coding."""
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    for case, front in fronts.items():
        axes.plot(
            [one["spikes_per_neuron"] for one in front], [one["epsilon_error"] for one in front], "o-", label=case
        )
    axes.set_yscale("log")
    axes.set_xlim(left=0)
    axes.set_xlabel("spikes per neuron, mean over all neurons")
    axes.set_ylabel("relative ε error to the ANN")
    axes.set_title("Bundled model, T = 4, training-free: error over spikes", loc="left", fontsize=10)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    typer.run(main)
