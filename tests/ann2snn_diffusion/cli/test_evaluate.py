import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.ann2snn_diffusion.cli.test_convert import run
from tests.two_processes import a2s

pytestmark = pytest.mark.usefixtures("beside_models")


def images_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.safetensors"))}


@pytest.mark.slow
def test_evaluate_writes_figures_and_plots(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text("[run]\nseed = 3\n[evaluation]\nsteps = 2\ncount = 6\n")
    arguments = ["evaluate", "snn", "-n", "5", "--recipe", "mine.toml", "--plots", "plots"]
    assert run(monkeypatch, *arguments) == 0
    assert "relative ε error" in capsys.readouterr().out
    written = json.loads((tmp_path / "snn-evaluation" / "evaluation.json").read_text())
    assert [written["settings"][name] for name in ("count", "steps", "seed")] == [5, 2, 3]
    assert written["distribution"] is None
    assert (tmp_path / "plots" / "error.png").read_bytes()[1:4] == b"PNG"
    images = images_of(tmp_path / "snn-evaluation")
    assert run(monkeypatch, *arguments) == 0
    assert images_of(tmp_path / "snn-evaluation") == images
    assert json.loads((tmp_path / "snn-evaluation" / "evaluation.json").read_text()) == written


@pytest.mark.slow
def test_two_processes_draw_the_images_of_one(tmp_path: Path) -> None:
    command = ["evaluate", "snn", "-n", "5", "--steps", "2", "--batch-size", "2", "-o"]
    for name, processes in (("one", 1), ("two", 2)):
        assert a2s(*command, name, processes=processes).count("relative ε error to the ANN") == 1
    one, two = images_of(tmp_path / "one"), images_of(tmp_path / "two")
    assert len(one) == 6
    assert one == two


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "no unet/config.json"),
        (["ddpm"], "convert it first"),
        (["snn", "-n", "-1"], "--count -1: expected a whole number from 0"),
        (["snn", "--recipe", "fashion-mnist"], "is for a2s convert and a2s finetune, not for a2s evaluate"),
        (["snn", "--scheduler", "magic"], "scheduler = 'magic'"),
        (["snn", "--features", "inception"], "--features inception: expected --data beside it"),
        (["snn", "--data", "cifar10", "--features", "vgg"], "features = 'vgg'"),
        (["snn", "--data", "folder", "--features", "fashion-mnist"], "made for 1 × 32 × 32"),
        (["snn", "--data", "few", "--inception-weights", "none.pth"], "none.pth: not readable"),
        (["snn", "-o", "file"], "file is a file"),
        (["snn", "--plots", "file/plots"], "file is a file"),
        (["snn", "--steps", "1001"], "steps = 1001: expected at most 1000"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_clear_line_and_nothing_is_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "few").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "few" / "one.png")
    before = sorted(tmp_path.rglob("*"))
    code = run(monkeypatch, "evaluate", *arguments)
    assert isinstance(code, str)
    assert message in code
    assert "\n" not in code
    assert sorted(tmp_path.rglob("*")) == before
