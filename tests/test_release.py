"""What a release says of itself."""

import tomllib
from pathlib import Path

import ann2snn_diffusion
import calibration

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_stands_in_one_place_and_is_told() -> None:
    assert ann2snn_diffusion.__version__ == PROJECT["version"]
    assert f"version: {PROJECT['version']}" in (ROOT / "CITATION.cff").read_text().splitlines()


def test_both_packages_say_that_they_are_typed() -> None:
    for package in (ann2snn_diffusion, calibration):
        assert (Path(str(package.__file__)).parent / "py.typed").is_file()
