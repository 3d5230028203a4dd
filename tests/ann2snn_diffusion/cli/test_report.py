from pathlib import Path

import pytest

from tests.ann2snn_diffusion.cli.test_convert import run

pytestmark = pytest.mark.usefixtures("beside_models")


def test_a_page_is_written_and_its_costs_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch, "report", "snn") == 0
    printed = capsys.readouterr().out
    assert "of the ANN's" in printed
    assert "snn-report.html: " in printed
    assert (tmp_path / "snn-report.html").read_text().startswith("<!doctype html>")
    assert "set --force to replace it" in str(run(monkeypatch, "report", "snn"))
    assert run(monkeypatch, "report", "snn", "--force", "--quiet") == 0
    assert not capsys.readouterr().out
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ddpm"], "convert it first with a2s convert"),
        (["nowhere"], "expected a folder that a2s convert wrote"),
        (["snn", "-o", "page.pdf"], "--output page.pdf: expected a name that ends in .html"),
        (["snn", "-o", "nowhere/page.html"], "expected a file name in a folder that exists"),
        (["snn", "--evaluation", "ddpm"], "ddpm: no evaluation.json; expected a folder that a2s evaluate wrote"),
        (["snn", "--condition", "absent.npy"], "absent.npy"),
    ],
)
def test_what_cannot_be_reported_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    found = run(monkeypatch, "report", *arguments)
    assert message in str(found)
    assert "\n" not in str(found)
    assert not capsys.readouterr().out
    assert not list(Path().glob("*.html"))
