"""What a reader of the README and of the site may count on."""

import re
from pathlib import Path

import ann2snn_diffusion

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_readme_is_short() -> None:
    assert len(README.split()) < 880


def test_links_of_the_readme_lead_somewhere() -> None:
    for path, _, anchor in (link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", README) if ":" not in link):
        assert (ROOT / path).exists(), path
        assert not anchor or f'<a id="{anchor}"></a>' in (ROOT / path).read_text(), anchor


def test_every_public_name_is_in_the_reference() -> None:
    named = re.findall(r"^::: ann2snn_diffusion\.(\w+)$", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(ann2snn_diffusion.__all__)
