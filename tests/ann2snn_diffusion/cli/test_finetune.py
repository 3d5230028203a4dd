import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from PIL import Image
from safetensors.torch import load_file

import ann2snn_diffusion
from ann2snn_diffusion.models.loading import Source
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.workflows.convert import convert_to_folder
from ann2snn_diffusion.workflows.result_folder import Writing
from tests.ann2snn_diffusion.cli.test_convert import run
from tests.conftest import build_unet, forget_processes
from tests.two_processes import a2s

QUICK = ["--train-batch-size", "4", "--sampler-steps", "4", "--lr-warmup-steps", "1", "--samples", "2"]
SHORT = [*QUICK, "--even-if-worse"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted models ``snn`` and ``rate``, their ANN ``ddpm``, an ANN of other images ``larger``."""
    folder = tmp_path_factory.mktemp("models")
    scheduler = DDPMScheduler()
    for name, unet in {"ddpm": build_unet(), "larger": build_unet(sample_size=16)}.items():
        DDPMPipeline(unet, scheduler).save_pretrained(folder / name)  # pyright: ignore[reportArgumentType]
    source = Source(build_unet(), scheduler, "ddpm")  # pyright: ignore[reportArgumentType]
    quick = CalibrationSpec(energy=0, states=28, positions=64, sampler_steps=3)
    plain = SpikeSpec(time_steps=2, segments=(0,))
    for name, spec in {"snn": plain, "rate": replace(plain, coding="rate")}.items():
        convert_to_folder(source, folder / name, spec=spec, calibration=quick, writing=Writing(samples=0))
    return folder


@pytest.fixture(autouse=True)
def here(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in folders.iterdir():
        (tmp_path / place.name).symlink_to(place)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")


@pytest.mark.slow
def test_the_result_is_a_pipeline_folder_whose_report_compares_before_and_after(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["finetune", "snn", "--steps", "3", "--save-images-steps", "2", "--seed", "5", *SHORT]
    assert run(monkeypatch, *arguments) == 0
    printed = capsys.readouterr().out
    assert "relative ε error, all diffusion timesteps: " in printed
    assert "3 steps in" in printed
    report = json.loads((tmp_path / "snn-ft" / "conversion_report.json").read_text())
    converted = json.loads((tmp_path / "snn" / "conversion_report.json").read_text())
    assert report["source"] == converted["source"] == "ddpm"
    assert report["provenance"][0] == converted["provenance"][0]
    training = report["provenance"][1]
    assert training["command"] == "finetune"
    assert (training["settings"]["seed"], training["settings"]["steps"]) == (5, 3)
    assert training["before"]["epsilon_error"] > 0
    assert training["after"]["epsilon_error"] == report["epsilon_error"]
    assert len(report["sites"]) == len(converted["sites"])
    assert "Fine-tuned for 3 steps of 4 states" in (tmp_path / "snn-ft" / "README.md").read_text()
    for picture in (tmp_path / "snn-ft" / "samples.png", tmp_path / "snn-ft-training" / "samples-000002.png"):
        assert picture.read_bytes()[1:4] == b"PNG"
    assert list((tmp_path / "snn-ft-training" / "tensorboard").glob("events*"))
    unet = DDPMPipeline.from_pretrained(tmp_path / "snn-ft").unet
    assert isinstance(unet, ann2snn_diffusion.SpikingUNet2DModel)
    for file in (tmp_path / "snn-ft").rglob("*.json"):
        assert str(tmp_path) not in file.read_text(), file
    # A trained model can be trained on, by a recipe too.
    (tmp_path / "mine.toml").write_text("[run]\nseed = 1\n[training]\nsteps = 1\nlearned_step_weights = true\n")
    assert run(monkeypatch, "finetune", "snn-ft", "--recipe", "mine.toml", *SHORT) == 0
    assert any(name.endswith("amplitudes") for name in weights_of(tmp_path / "snn-ft-ft"))


@pytest.mark.slow
def test_what_a_training_made_worse_is_handed_out_as_it_was_and_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["finetune", "snn", "--steps", "2", "--learning-rate", "0.3", "--energy", "1", *QUICK]
    assert run(monkeypatch, *arguments) == 0
    printed = capsys.readouterr().out
    assert "No better than before, so the network is handed out as it was" in printed
    assert "of the ANN's energy, not 1: train for more steps." in printed
    before, after = weights_of(tmp_path / "snn"), weights_of(tmp_path / "snn-ft")
    assert all(torch.equal(after[name], before[name]) for name in after)
    report = json.loads((tmp_path / "snn-ft" / "conversion_report.json").read_text())
    training = report["provenance"][1]
    assert training["settings"]["handed_out"] == "before"
    assert training["after"] == training["before"]
    assert "Fine-tuned" not in (tmp_path / "snn-ft" / "README.md").read_text()


@pytest.mark.slow
def test_what_was_trained_layerwise_can_be_handed_out_synchronous(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = ["finetune", "rate", "--steps", "2", *SHORT]
    assert run(monkeypatch, *arguments, "-o", "layerwise") == 0
    assert run(monkeypatch, *arguments, "-o", "ticking", "--synchronous") == 0
    layerwise, ticking = weights_of(tmp_path / "layerwise"), weights_of(tmp_path / "ticking")
    settled = "overshoot.taken"  # to what each of them gives
    assert all(torch.equal(ticking[name], layerwise[name]) for name in layerwise if name != settled)
    assert not torch.equal(ticking[settled], layerwise[settled])
    report = json.loads((tmp_path / "ticking" / "conversion_report.json").read_text())
    unet = DDPMPipeline.from_pretrained(tmp_path / "ticking").unet
    assert unet.spec.schedule == report["spiking"]["schedule"] == "synchronous"
    trained = json.loads((tmp_path / "layerwise" / "conversion_report.json").read_text())
    for measured in ("epsilon_error", "epsilon_error_low_noise"):
        assert report[measured] != trained[measured]
        assert report["provenance"][1]["before"][measured] != trained["provenance"][1]["before"][measured]


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_it_gives_the_weights_of_an_uninterrupted_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = ["finetune", "snn", "--steps", "40", "--checkpointing-steps", "1", *SHORT, "--samples", "0"]
    command = [sys.executable, "-m", "ann2snn_diffusion.cli", *arguments, "-o", "killed"]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        while not list((tmp_path / "killed-training").glob("checkpoint-*")):
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.05 + time.time() % 0.5)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "killed").exists()
    assert "--resume-from-checkpoint latest" in str(run(monkeypatch, *arguments, "-o", "killed"))
    assert run(monkeypatch, *arguments, "-o", "killed", "--resume-from-checkpoint", "latest") == 0
    assert run(monkeypatch, *arguments, "-o", "whole") == 0
    killed, whole = weights_of(tmp_path / "killed"), weights_of(tmp_path / "whole")
    assert all(torch.equal(killed[name], whole[name]) for name in whole)


@pytest.mark.slow
def test_a_checkpoint_is_finished_as_the_training_that_it_was_cut_from_would_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["finetune", "snn", "--steps", "3", "--checkpointing-steps", "2", *SHORT]
    assert run(monkeypatch, *arguments) == 0
    whole, kept = weights_of(tmp_path / "snn-ft"), sorted((tmp_path / "snn-ft-training").rglob("*/training.json"))
    assert run(monkeypatch, *arguments, "-o", "same", "--finish", str(kept[-1].parent)) == 0
    assert all(torch.equal(part, whole[name]) for name, part in weights_of(tmp_path / "same").items())
    same = json.loads((tmp_path / "same" / "conversion_report.json").read_text())
    ended = json.loads((tmp_path / "snn-ft" / "conversion_report.json").read_text())
    assert same == ended
    assert "end it with --finish latest" in str(run(monkeypatch, *arguments, "--force"))
    capsys.readouterr()
    assert run(monkeypatch, *arguments, "--finish", "checkpoint-000002", "--force") == 0
    printed = capsys.readouterr().out
    assert "relative ε error, all diffusion timesteps: " in printed
    assert "; 2 of 3 steps in" in printed
    settings = json.loads((tmp_path / "snn-ft" / "conversion_report.json").read_text())["provenance"][-1]["settings"]
    assert (settings["trained_steps"], settings["steps"]) == (2, 3)
    assert "Fine-tuned for 2 of 3 steps of 4 states." in (tmp_path / "snn-ft" / "README.md").read_text()
    assert (tmp_path / "snn-ft" / "samples.png").exists()
    assert sorted((tmp_path / "snn-ft-training").rglob("*/training.json")) == kept
    other = str(run(monkeypatch, *arguments, "-o", "other", "--seed", "1", "--finish", str(kept[0].parent)))
    assert "is of another training: seed was 0 and is 1" in other
    assert not (tmp_path / "other").exists()


STAGES = """[run]
seed = 3
[[training]]
steps = 2
synchronous = true
mixed_precision = "bf16"
[[training]]
steps = 1
"""


@pytest.mark.slow
def test_one_recipe_trains_layerwise_and_then_through_the_ticks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(STAGES)
    arguments = ["finetune", "rate", "--recipe", "mine.toml", "--save-images-steps", "1", *SHORT]
    assert run(monkeypatch, *arguments) == 0
    printed = capsys.readouterr().out
    assert printed.count("relative ε error, all diffusion timesteps: ") == 1
    assert "; 3 steps in" in printed
    report = json.loads((tmp_path / "rate-ft" / "conversion_report.json").read_text())
    assert report["spiking"]["schedule"] == "synchronous"
    first, second = report["provenance"][1:]
    told = [(one["settings"]["seed"], one["settings"]["steps"], one["settings"]["mixed_precision"])
            for one in (first, second)]  # fmt: skip
    assert told == [(3, 2, "bf16"), (4, 1, "no")]
    assert (first["after"], second["before"]) == (None, None)
    assert second["after"]["epsilon_error"] == report["epsilon_error"] != first["before"]["epsilon_error"]
    card = (tmp_path / "rate-ft" / "README.md").read_text()
    assert "Fine-tuned for 2 steps of 4 states. Fine-tuned for 1 steps of 4 states." in card
    working = tmp_path / "rate-ft-training"
    for file in ("samples-000001.png", "samples-000002.png", "stage-2/samples-000001.png", "stage-2/tensorboard"):
        assert (working / file).exists(), file
    # The same as two commands, the second of the first's folder.
    layerwise = ["--steps", "2", "--seed", "3", "--synchronous", "--mixed-precision", "bf16"]
    forget_processes()
    assert run(monkeypatch, "finetune", "rate", "-o", "one", *layerwise, *SHORT) == 0
    forget_processes()
    assert run(monkeypatch, "finetune", "one", "-o", "two", "--steps", "1", "--seed", "4", *SHORT) == 0
    staged, two = weights_of(tmp_path / "rate-ft"), weights_of(tmp_path / "two")
    assert all(torch.equal(staged[name], two[name]) for name in two)
    (tmp_path / "mine.toml").write_text(STAGES.replace("steps = 1", "steps = 0"))
    assert "mine.toml stage 2 of [[training]] steps = 0: expected a whole number from 1" in str(
        run(monkeypatch, *arguments)
    )


@pytest.mark.slow
def test_two_processes_go_through_stages_together(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(STAGES)
    a2s("finetune", "rate", "--recipe", "mine.toml", *SHORT, "--samples", "0", processes=2)
    report = json.loads((tmp_path / "rate-ft" / "conversion_report.json").read_text())
    assert [step["settings"]["processes"] for step in report["provenance"][1:]] == [2, 2]


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    printed = a2s("finetune", "snn", "--steps", "2", "--energy", "0.3", *SHORT, "--samples", "0", processes=2)
    assert printed.count("relative ε error, all diffusion timesteps") == 1
    report = json.loads((tmp_path / "snn-ft" / "conversion_report.json").read_text())
    assert report["provenance"][-1]["settings"]["processes"] == 2
    rollouts = sorted((tmp_path / "snn-ft-training" / "checkpoint-000002").glob("rollout-*"))
    first, second = (load_file(file)["states"] for file in rollouts)
    assert not torch.equal(first, second)


@pytest.mark.slow
def test_from_random_weights_on_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for index in range(6):
        Image.new("L", (8, 8), 40 * index).save(tmp_path / "images" / f"{index}.png")
    convert = ["convert", "ddpm", "-o", "fresh", "--random-init", "--energy", "0", "--states", "14", "--samples", "0"]
    assert run(monkeypatch, *convert) == 0
    report = json.loads((tmp_path / "fresh" / "conversion_report.json").read_text())
    assert report["source"] == "ddpm with random weights"
    train = ["--denoise", "1", "--distill", "0", "--learn", "all", "--data", "images", "--steps", "2", *SHORT]
    assert run(monkeypatch, "finetune", "fresh", "-o", "out", *train) == 0
    before, after = weights_of(tmp_path / "fresh"), weights_of(tmp_path / "out")
    assert not torch.equal(before["conv_in.weight"], after["conv_in.weight"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "no unet/config.json"),
        (["ddpm"], "convert it first"),
        (["snn", "--teacher", "absent"], "absent"),
        (["snn", "--teacher", "larger"], "teacher: sample_size is 16, the spiking U-Net has 8"),
        (["snn", "--denoise", "1"], "--denoise 1: expected 0 without --data"),
        (["snn", "--data", "absent"], "expected a folder of images or one of"),
        (["snn", "--synchronous"], "expected rate beside the synchronous schedule"),
        (["snn", "--energy", "0.0001"], "--energy 0.0001: expected more than 0."),
        (
            ["snn", "--energy", "0.2", "--firing-rate", "1"],
            "--energy 0.2: expected none beside a weight of --firing-rate",
        ),
        (["snn", "--energy", "0.2", "--costs", "absent"], "absent: no such table of costs or file"),
        (["snn", "--steps", "0"], "--steps 0: expected a whole number from 1"),
        (
            ["snn", "--resume-from-checkpoint", "latest"],
            "resume from; start without --resume-from-checkpoint",
        ),
        (["snn", "--resume-from-checkpoint", "checkpoint-000001"], "no checkpoint; expected latest"),
        (["snn", "--finish", "latest"], "start without --resume-from-checkpoint or --finish"),
        (
            ["snn", "--finish", "latest", "--resume-from-checkpoint", "latest"],
            "--finish latest: expected none beside --resume-from-checkpoint",
        ),
        (["snn", "-o", "ddpm"], "exists already"),
        (["snn", "-o", "ddpm/model_index.json/out"], "is a file"),
        (["snn", "--recipe", "absent"], "no such file or recipe"),
        (["snn", "--device", "cuda:7"], "usable here"),
    ],
)
def test_bad_input_gets_one_clear_line_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], message: str
) -> None:
    before = set(tmp_path.iterdir())
    assert message in str(run(monkeypatch, "finetune", *arguments, *SHORT))
    assert set(tmp_path.iterdir()) == before
