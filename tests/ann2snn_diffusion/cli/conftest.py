"""What tests of several commands share."""

from pathlib import Path

import pytest

from tests.ann2snn_diffusion.cli.saved_models import link_models, save_models


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted model ``snn`` and its ANN ``ddpm``."""
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def beside_models(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in, with the models in it."""
    monkeypatch.chdir(tmp_path)
    link_models(folders, tmp_path)
