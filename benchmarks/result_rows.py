"""The rows of docs/results.md that commands remake: their name there, the commands, and where the figures lie then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Step:
    """One command, which is left out where what it makes is there."""

    makes: str
    """Folder or file."""
    command: str
    """Arguments of ``a2s``; or those of ``python -m benchmarks.``, whose output ``makes`` then keeps."""

    @property
    def of_benchmark(self) -> bool:
        """Whether it is a script of this folder."""
        return self.makes.endswith(".txt")


@dataclass(frozen=True)
class Row:
    """A row by its anchor in docs/results.md."""

    name: str
    steps: tuple[Step, ...]
    """In order; rows share those that are the same."""
    figures: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By what they are called: JSON file, and keys with dots between them."""


QUICK = {
    "convert": "--states 44 --samples 0",
    "finetune": "--steps 4 --train-batch-size 8 --samples 0",
    "evaluate": "-n 96 --steps 5 --states-per-stratum 2",
    "search-thresholds": "-n 96 --held-out 96 --steps 5 --samples 0",
    "forward": "--batch-size 8 --repeats 1",
    "training_step": "--batch-size 4 --repeats 1",
}
"""What --quick adds to a command: the last of two equal flags counts."""
DOUBLED = "--doubled down_blocks.0.resnets.0 --doubled *.conv_shortcut --doubled conv_out"
FREE = Step("free", f"convert fashion-mnist -o free --energy 0 {DOUBLED}")
PLAIN = Step("plain", "convert fashion-mnist -o plain --energy 0")
FRUGAL = Step("frugal", "convert fashion-mnist -o frugal --recipe frugal")
FRUGAL_TRAINED = Step("frugal-ft", "finetune frugal -o frugal-ft --recipe frugal")
FEWEST_SPIKES = Step(
    "frugal-guided",
    "search-thresholds frugal-ft -o frugal-guided --objective fid --goal energy --by step --bounds 0.95 1.6 "
    "--evaluations 27 -n 512 --held-out 512 --steps 10 --tolerance 0.03 --samples 0",
)
TENTH = Step("tenth", "convert fashion-mnist -o tenth --recipe frugal --energy 0.1")
TENTH_TRAINED = Step("tenth-ft", "finetune tenth -o tenth-ft --recipe frugal --energy 0.1 --steps 1000")
SINGLE = Step("single", "convert fashion-mnist -o single --coding rate")
SINGLE_TRAINED = Step("single-ft", "finetune single -o single-ft --recipe rate")
RATE = Step("rate", "convert fashion-mnist -o rate --recipe rate")
RATE_ALL = Step("rate-all", "convert fashion-mnist -o rate-all --recipe rate-ticks")
RATE_ALL_TICKS = Step("rate-all-ticks", "finetune rate-all -o rate-all-ticks --recipe rate-ticks")
RATE_TRAINED = Step("rate-ft", "finetune rate -o rate-ft --recipe rate")


def network(name: str, *steps: Step, count: int = 2000) -> Row:
    """The network that the last step makes, its ANN beside it: what it costs and how well it draws."""
    folder = steps[-1].makes
    evaluation = f"{folder}-evaluation/evaluation.json"
    measure = Step(evaluation, f"evaluate {folder} -o {folder}-evaluation -n {count} --batch-size 50")
    keys = {
        "energy": "fidelity.energy_share",
        "with element-wise work": "fidelity.energy_share_all",
        "with memory traffic too": "fidelity.energy_share_memory",
        "spikes per neuron": "fidelity.spikes_per_neuron",
        "relative ε error": "fidelity.epsilon_error",
        "below 50": "fidelity.epsilon_error_low_noise",
        "FID": "distribution.quality.SNN.fid",
        "the ANN's FID": "distribution.quality.ANN.fid",
        "above the ANN's, 95 %": "distribution.fid_difference_interval",
        "PSNR": "images.psnr",
    }
    return Row(name, (*steps, measure), {title: (evaluation, key) for title, key in keys.items()})


def at_energy(name: str, energy: float) -> Row:
    """A training-free network with a budget."""
    folder = f"energy-{energy:g}"
    return network(name, Step(folder, f"convert fashion-mnist -o {folder} --energy {energy:g}"))


def script(name: str, arguments: str) -> Row:
    """A benchmark whose table is kept."""
    return Row(name, (Step(f"{name}.txt", arguments),))


ROWS = (
    at_energy("energy-025", 0.25),
    at_energy("energy-015", 0.15),
    at_energy("energy-035", 0.35),
    network("energy-015-trained", FRUGAL, FRUGAL_TRAINED),
    network("energy-010-trained", TENTH, TENTH_TRAINED),
    network(
        "energy-010-longer",
        TENTH,
        TENTH_TRAINED,
        Step("tenth-longer", "finetune tenth-ft -o tenth-longer --recipe frugal --energy 0.1 --steps 1000 --seed 1"),
    ),
    network("training-free", FREE),
    network("fine-tuned", FREE, Step("free-ft", "finetune free -o free-ft --recipe fashion-mnist")),
    network("not-doubled", PLAIN),
    network(
        "ticks-recipe",
        RATE_ALL,
        RATE_ALL_TICKS,
    ),
    network(
        "ticks-training-free",
        Step("synchronous", "convert fashion-mnist -o synchronous --recipe synchronous"),
        count=512,
    ),
    network("ticks-layerwise", SINGLE, SINGLE_TRAINED, count=512),
    network(
        "ticks-single",
        SINGLE,
        SINGLE_TRAINED,
        Step("single-ticks", "finetune single-ft -o single-ticks --recipe synchronous --seed 1"),
        count=512,
    ),
    network("ticks-doubled-layerwise", RATE, RATE_TRAINED, count=512),
    network(
        "ticks-doubled",
        RATE,
        RATE_TRAINED,
        Step("rate-ticks", "finetune rate-ft -o rate-ticks --recipe synchronous --seed 1"),
        count=512,
    ),
    Row(
        "guidance",
        (FREE, Step("free-guided", "search-thresholds free -o free-guided --recipe paper-guidance")),
        {"best factors": ("free-guided/threshold_search.json", "winner.guidance"),
         "stored factors": ("free-guided/threshold_search.json", "stored")},
    ),
    Row(
        "guidance-ticks",
        (
            RATE_ALL,
            RATE_ALL_TICKS,
            Step("rate-guided", "search-thresholds rate-all-ticks -o rate-guided --recipe paper-guidance -n 512"),
        ),
        {"best factors": ("rate-guided/threshold_search.json", "winner.guidance"),
         "stored factors": ("rate-guided/threshold_search.json", "stored")},
    ),
    Row(
        "guidance-energy",
        (FRUGAL, FRUGAL_TRAINED, FEWEST_SPIKES),
        {"best factors": ("frugal-guided/threshold_search.json", "winner.guidance"),
         "stored factors": ("frugal-guided/threshold_search.json", "stored")},
    ),
    script("forward-time", "forward --no-compiled --repeats 15"),
    script("training-step", "training_step --repeats 3 --batch-size 32"),
)  # fmt: skip
ELSEWHERE = {
    "ann": "beside every network",
    "floor": "beside every network",
    "fidelity": "training-free, fine-tuned",
    "no-budget": "training-free",
    "spike-driven": "printed by every conversion",
    "convert-time": "time a2s convert --recipe fashion-mnist",
    "synchronous-step": "training-step",
    "spikingjelly-step": "training-step, with SpikingJelly installed",
    "folder-size": "the size of unet/",
    "wheel-size": "python -m build",
    "ticks-2000": "a2s evaluate rate-ticks",
    "ticks-more-states": "assembled by hand, of a run that was cut off",
    "shape-32": "python benchmarks/shapes.py ddpm-cifar10-32",
    "shape-128": "python benchmarks/shapes.py ddpm-butterflies-128",
    "shape-256": "python benchmarks/shapes.py ddpm-celebahq-256",
}
"""Rows that have no commands of their own here, and what makes them."""
