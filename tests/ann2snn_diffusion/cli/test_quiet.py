import logging
from pathlib import Path

import pytest

from ann2snn_diffusion import cli
from ann2snn_diffusion.common.errors import A2SError
from tests.ann2snn_diffusion.cli.saved_models import link_models, save_models
from tests.ann2snn_diffusion.cli.test_convert import run

FEW = ["--states", "14", "--positions", "64", "--sampler-steps", "2"]
COMMANDS = {
    "a scheduler from elsewhere": ["convert", "ddpm/unet", "-o", "out", "--samples", "1", *FEW],
    "a front": ["convert", "ddpm", "-o", "out", "--front", "0.3", "--samples", "0", *FEW],
    "finetune": ["finetune", "snn", "-o", "out", "--steps", "1", "--train-batch-size", "2", "--samples", "0"],
    "search-thresholds": [
        "search-thresholds", "snn", "-o", "out", "--count", "14", "--held-out", "14", "--evaluations", "3",
        "--bootstrap", "4", "--sampler-steps", "2", "--samples", "0",
    ],
    "sample": ["sample", "snn", "-o", "out.png", "-n", "1", "--steps", "1"],
    "evaluate": ["evaluate", "snn", "-o", "out", "-n", "1", "--steps", "1", "--plots", "plots"],
    "inspect": ["inspect", "snn", "--plots", "plots"],
    "report": ["report", "snn", "-o", "out.html"],
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_quiet_says_nothing_at_all(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    link_models(folders, tmp_path)
    assert run(monkeypatch, *COMMANDS[command], "--quiet") == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("arguments", "said"), [([], "a picture was left out\n"), (["--quiet"], "")])
def test_quiet_leaves_warnings_out_and_errors_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    def app() -> None:
        logging.getLogger("ann2snn_diffusion.workflows.front").warning("a picture was left out")
        raise A2SError("mend this")

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a process that is no test
    assert run(monkeypatch, *arguments) == "error: mend this"
    assert capsys.readouterr().err == said
