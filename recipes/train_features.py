"""Train the classifier whose features measure the bundled Fashion-MNIST models, and compute its reference statistics.

python recipes/train_features.py -o ann2snn_diffusion/models/fashion-mnist-features
Data: Debian's package ``dataset-fashion-mnist`` (MIT licence), or any folder with the four idx files.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import torch
import torch.nn.functional as F
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

from ann2snn_diffusion.common.atomic_output import new_folder
from ann2snn_diffusion.data.datasets import read_idx
from ann2snn_diffusion.evaluation.features import FashionClassifier
from ann2snn_diffusion.evaluation.references import pack_statistics

KEPT_FEATURES = 10_000

CARD = """---
license: mit
datasets: [fashion-mnist]
---
# Features of Fashion-MNIST

A classifier of 32 × 32 grey images; its 64 features stand in for Inception's where this package measures its bundled
models. Figures from different features do not compare.

| | |
|---|---|
| accuracy on the 10,000 test images | {accuracy:.2%} |
| data | the 60,000 training images (MIT licence), 28 × 28 padded to 32 × 32 with black; flips, shifts |
| training | {training}; `recipes/train_features.py` |
| `references.safetensors`: mean, covariance | of the features of all training images |
| `references.safetensors`: train, test | features of {kept:,} training and of all test images, float16 |
"""


def read_split(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """Images [N, 1, 32, 32] in [−1, 1] and labels, int64 [N]."""
    images = F.pad(read_idx(folder / f"{split}-images-idx3-ubyte.gz"), (2, 2, 2, 2))
    labels = np.frombuffer(gzip.decompress((folder / f"{split}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return images[:, None].float() / 127.5 - 1, torch.from_numpy(labels.copy()).long()


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random flips, and shifts by up to two pixels: the padding allows them."""
    flips = torch.rand(len(images), generator=generator) < 0.5
    images = torch.where(flips[:, None, None, None], images.flip(-1), images)
    down, across = torch.randint(-2, 3, (2,), generator=generator).tolist()
    return images.roll((down, across), (-2, -1))


@torch.no_grad()
def apply(classifier: FashionClassifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features [N, 64] and logits [N, 10]."""
    features, logits = zip(*(classifier(part) for part in images.split(500)), strict=True)
    return torch.cat(features), torch.cat(logits)


@torch.no_grad()
def rescale(classifier: FashionClassifier, images: Tensor) -> None:
    """Scale the features to a mean variance of 1, and the last layer against it: the logits stay.

    KID's cubic kernel wants features of about that size.
    """
    features, _ = apply(classifier, images)
    scale = features.var(0).mean().sqrt()
    linear = cast(nn.Linear, classifier.features[-2])
    linear.weight.div_(scale)  # a ReLU behind it passes a positive factor on
    linear.bias.div_(scale)
    classifier.head.weight.mul_(scale)


def write(output: Path, classifier: FashionClassifier, data: Path, training: str, seed: int, force: bool) -> float:
    """Write weights, reference statistics and card; returns the accuracy on the test images."""
    images, _ = read_split(data, "train")
    test_images, test_labels = read_split(data, "t10k")
    rescale(classifier, images)
    features, _ = apply(classifier, images)
    test_features, logits = apply(classifier, test_images)
    accuracy = (logits.argmax(1) == test_labels).float().mean().item()
    kept = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))[:KEPT_FEATURES]
    with new_folder(output, force, marker="references.safetensors") as folder:
        save_model(classifier, str(folder / "model.safetensors"))
        tensors = pack_statistics(features) | {"train": features[kept].half(), "test": test_features.half()}
        save_file(tensors, folder / "references.safetensors")
        (folder / "README.md").write_text(CARD.format(accuracy=accuracy, training=training, kept=len(kept)))
    return accuracy


def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for weights, statistics and card.")],
    data: Annotated[Path, typer.Option(help="Folder with the idx files.")] = Path("/usr/share/datasets/fashion-mnist"),
    epochs: int = 6,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    seed: int = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace the output folder if it exists.")] = False,
) -> None:
    """Train, measure, and write everything at once at the end."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    images, labels = read_split(data, "train")
    classifier = FashionClassifier()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=learning_rate)
    steps = epochs * (len(images) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("training", total=steps)
        for _ in range(epochs):
            order = torch.randperm(len(images), generator=generator)
            for rows in order[: len(order) // batch_size * batch_size].split(batch_size):
                loss = F.cross_entropy(classifier(augment(images[rows], generator))[1], labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                progress.advance(bar)

    training = f"{epochs} epochs of batch {batch_size}, AdamW, one-cycle rate, seed {seed}"
    accuracy = write(output, classifier.eval(), data, training, seed, force)
    typer.echo(f"{output}: test accuracy {accuracy:.2%}")


if __name__ == "__main__":
    typer.run(main)
