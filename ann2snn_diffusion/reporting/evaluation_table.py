"""An evaluation as tables for the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ann2snn_diffusion.evaluation.figures import ANN, SNN, Distribution, Evaluation
from ann2snn_diffusion.evaluation.spec import COMPARABLE_COUNT
from ann2snn_diffusion.reporting.costs_table import costs_line
from ann2snn_diffusion.reporting.fidelity_table import error_line, stratum_table


def print_evaluation(console: Console, evaluation: Evaluation) -> None:
    """Fidelity, quality, and the settings that both depend on."""
    settings, fidelity = evaluation.settings, evaluation.fidelity
    console.print(stratum_table(fidelity))
    console.print(
        f"relative ε error to the ANN: {error_line(fidelity)}\n"
        f"images from equal noise: PSNR {evaluation.images.psnr:.1f} dB, SSIM {evaluation.images.ssim:.3f}",
        soft_wrap=True,
    )
    console.print(costs_line(fidelity.costs), soft_wrap=True)
    if evaluation.distribution is not None:
        console.print(quality_table(evaluation.distribution, settings["real"]["features"]))
        low, high = evaluation.distribution.fid_difference_interval
        real = settings["real"]
        console.print(
            f"FID of the SNN minus the ANN's: {evaluation.distribution.fid_difference:+.2f} "
            f"({low:+.2f} … {high:+.2f})\n"
            f"features {real['features']}, against {real['reference']}, {real['reference_count']:,} images, "
            f"{real['preparation']}",
            soft_wrap=True,
        )
    else:
        console.print("No real images to compare with: this is fidelity to the ANN, not quality.", soft_wrap=True)
    console.print(
        f"{settings['count']:,} images, {settings['scheduler']}, {settings['steps']} steps, seed {settings['seed']}, "
        f"batch size {settings['batch_size']}, ANN weights: {settings['ann_weights']}",
        soft_wrap=True,
    )
    if words := settings.get("class_labels_drawn"):
        console.print(f"class labels drawn {words}", soft_wrap=True)
    if settings["count"] < COMPARABLE_COUNT:
        console.print(
            f"Fewer than {COMPARABLE_COUNT:,} images: these figures compare with each other, not with papers.",
            soft_wrap=True,
        )


def quality_table(distribution: Distribution, features: str) -> Table:
    """FID with its interval and the other figures; a row a network, and one for held-out real images."""
    rows = Table(
        "images", f"FID ({features})", "95 % interval", "KID × 1000", "Inception Score", "precision", "recall",
        box=SIMPLE_HEAD,
    )  # fmt: skip
    for title in (ANN, SNN):
        found = distribution.quality[title]
        rows.add_row(
            title, f"{found.fid:.2f}", "{:.2f} … {:.2f}".format(*found.fid_interval),
            f"{1000 * found.kid:.2f} ± {1000 * found.kid_deviation:.2f}",
            f"{found.inception_score:.2f} ± {found.inception_score_deviation:.2f}",
            f"{found.precision:.3f}", f"{found.recall:.3f}",
        )  # fmt: skip
    if distribution.floor is not None and distribution.floor_interval is not None:
        floor = f"{distribution.floor:.2f}"
        rows.add_row("real, held out", floor, "{:.2f} … {:.2f}".format(*distribution.floor_interval), *["–"] * 4)
    return rows
