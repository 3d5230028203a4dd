import json
from pathlib import Path

import pytest

from ann2snn_diffusion.common.reservation import reserved
from tests.ann2snn_diffusion.cli.test_convert import run

NOTE = "counted operations × published constants, not measured on hardware"


pytestmark = pytest.mark.usefixtures("beside_models")


def test_totals_come_first_then_the_five_layers_that_cost_most(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "inspect", "snn", "--json", "costs.json") == 0
    printed = capsys.readouterr().out
    content = json.loads(Path("costs.json").read_text())
    totals, layers = printed.split("layer  ", 1)
    assert printed.count(NOTE) == 1
    for words in (
        f"{content['totals']['energy_share']:.3f}",
        "an image of 25 steps",
        "spikes per activation",
        "in int8",
    ):
        assert words in totals
    assert f"{content['totals']['energy_share_memory']:.2f} times what its ANN costs" in totals
    rows = [line.split()[0] for line in layers.splitlines() if line.startswith("  ") and "." in line]
    dearest = sorted(content["layers"], key=lambda name: -content["layers"][name]["energy_pj"])
    assert rows == dearest[:5]


def test_verbose_shows_all_layers_by_a_table_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(
        "multiply_accumulate = 2\naccumulate = 1\nword_bytes = 1\nmembrane_bytes = 1\n"
        "access_8_kib = 0\naccess_32_kib = 0\naccess_1_mib = 0\n"
    )
    assert run(monkeypatch, "inspect", "snn", "--costs", "mine.toml", "--verbose", "--json", "costs.json") == 0
    content, printed = json.loads(Path("costs.json").read_text()), capsys.readouterr().out
    assert all(name in printed for name in content["layers"])
    totals = content["totals"]
    assert totals["energy_pj"] == pytest.approx(totals["accumulates"] + 2 * totals["multiply_accumulates"])
    assert totals["energy_share_memory"] == totals["energy_share_all"]
    assert f"{NOTE}; mine" in printed


def test_plots_are_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, "inspect", "snn", "--plots", "plots") == 0
    assert {file.name for file in (tmp_path / "plots").iterdir()} == {
        "energy.png", "spikes.png", "raster.png", "trains.png",
    }  # fmt: skip


def test_files_that_exist_are_replaced_by_force_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "raster.png").write_text("mine")
    (tmp_path / "plots" / "samples.png").write_text("of another command")
    (tmp_path / "mine.json").write_text("mine")
    for arguments in (["--json", "mine.json"], ["--plots", "plots"]):
        found = run(monkeypatch, "inspect", "snn", *arguments)
        assert "exists already; choose another name, or set --force to replace it" in str(found)
        assert [(tmp_path / name).read_text() for name in ("mine.json", "plots/raster.png")] == ["mine", "mine"]
    assert run(monkeypatch, "inspect", "snn", "--json", "mine.json", "--plots", "plots", "--force", "--quiet") == 0
    assert json.loads((tmp_path / "mine.json").read_text())["totals"]
    assert (tmp_path / "plots" / "raster.png").read_bytes()[1:4] == b"PNG"
    assert (tmp_path / "plots" / "samples.png").read_text() == "of another command"


def test_a_file_that_is_being_written_is_not_touched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with reserved(tmp_path / "costs.json"):
        assert "is being written by process" in str(run(monkeypatch, "inspect", "snn", "--json", "costs.json"))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ddpm"], "convert it first with a2s convert"),
        (["nowhere"], "expected a folder that a2s convert wrote"),
        (["snn", "--costs", "free"], "free: no such table of costs or file"),
        (["snn", "--json", "nowhere/costs.json"], "expected a file name in a folder that exists"),
        (["snn", "--plots", "mine"], "mine is a file"),
    ],
)
def test_what_cannot_be_inspected_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Path("mine").write_text("a file")
    found = run(monkeypatch, "inspect", *arguments)
    assert message in str(found)
    assert "\n" not in str(found)
    assert not capsys.readouterr().out
