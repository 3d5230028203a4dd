import torch

from ann2snn_diffusion.common.versions import version_of


def test_the_version_of_what_is_installed_is_told() -> None:
    assert torch.__version__.startswith(version_of("torch"))
    assert version_of("never-installed") == "unknown"
