"""The commands and the Python of the tutorial and of the README, run as they are printed."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^a2s (.+)$", TUTORIAL, re.MULTILINE)


def snippet(page: str) -> str:
    found = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert found is not None
    return found[1]


def run(folder: Path, *arguments: str) -> str:
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all commands of the tutorial were run."""
    place = tmp_path_factory.mktemp("tutorial")
    for command in COMMANDS:
        run(place, "-m", "ann2snn_diffusion.cli", *shlex.split(command), "--device", "cpu")
    return place


@pytest.mark.slow
def test_its_commands_make_what_it_says(folder: Path) -> None:
    assert [command.split()[0] for command in COMMANDS[:3]] == ["convert", "inspect", "sample"]
    for made in re.findall(r"`\.?/?((?:fashion-mnist-snn|plots)[\w./-]*)`", TUTORIAL):
        assert (folder / made).exists(), made


@pytest.mark.slow
@pytest.mark.parametrize("page", [TUTORIAL, README], ids=["tutorial", "README"])
def test_its_python_draws(folder: Path, page: str) -> None:
    (folder / "image.png").unlink(missing_ok=True)
    run(folder, "-c", re.sub(r"num_inference_steps=\d+", "num_inference_steps=2", snippet(page)))
    assert (folder / "image.png").read_bytes()[1:4] == b"PNG"
