from pathlib import Path

import pytest
import torch

from ann2snn_diffusion.evaluation.features import FeaturesError, load_features


def test_the_bundled_features_are_those_of_its_classifier() -> None:
    network = load_features("fashion-mnist", 1, (32, 32))
    images = torch.randint(0, 256, (5, 1, 32, 32), dtype=torch.uint8).expand(-1, 3, -1, -1)
    done: list[int] = []
    found = network(list(images), batch_size=2, advance=done.append)  # pyright: ignore[reportArgumentType]
    assert found.pooled.shape == (5, network.width)
    assert found.logits.shape == (5, 10)
    assert done == [2, 4, 5]
    torch.testing.assert_close(found[2:].pooled, network(list(images[2:])).pooled)  # pyright: ignore[reportArgumentType]


def test_the_card_states_the_accuracy_that_was_asked_for() -> None:
    from ann2snn_diffusion.evaluation.features import FASHION_FOLDER

    card = (FASHION_FOLDER / "README.md").read_text()
    stated = next(line for line in card.splitlines() if "accuracy" in line)
    assert float(stated.split("|")[2].strip().rstrip("%")) >= 91


@pytest.mark.parametrize(("channels", "size"), [(3, (32, 32)), (1, (28, 28))])
def test_the_bundled_features_refuse_other_images(channels: int, size: tuple[int, int]) -> None:
    with pytest.raises(FeaturesError, match=f"made for 1 × 32 × 32, the model draws {channels} × {size[0]}"):
        load_features("fashion-mnist", channels, size)


def test_unknown_features_are_refused_with_the_known_ones() -> None:
    with pytest.raises(FeaturesError, match="'vgg': expected one of inception, fashion-mnist"):
        load_features("vgg", 1, (32, 32))


def test_inception_weights_that_cannot_be_had_are_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "damaged.pth").write_bytes(b"damaged")
    with pytest.raises(FeaturesError, match=r"damaged\.pth: not readable .* pass the file as `inception_weights`"):
        load_features("inception", 3, (32, 32), tmp_path / "damaged.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *_, **__: (_ for _ in ()).throw(OSError("offline")))
    with pytest.raises(FeaturesError, match=r"neither in .*checkpoints nor to be had .*offline"):
        load_features("inception", 3, (32, 32))
