"""How good images are, from their features: FID, KID, Inception Score, precision and recall, by torch-fidelity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from ann2snn_diffusion.common.errors import A2SError
from ann2snn_diffusion.common.progress import Advance, idle
from ann2snn_diffusion.common.random_streams import stream
from ann2snn_diffusion.evaluation.features import Features
from ann2snn_diffusion.evaluation.references import Reference, pack_statistics

KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000
MANIFOLD_IMAGES = 10_000
"""Images from which FIDs of papers are computed at the least."""


class QualityError(A2SError):
    """Figures that cannot be computed from what there is."""


@dataclass(frozen=True)
class Quality:
    """Figures of one set of images against a reference."""

    fid: float
    """Fréchet distance of the features (arXiv 1706.08500)."""
    fid_interval: tuple[float, float]
    """FID ± 1.96 bootstrap standard deviations: what another draw of as many images would move it by."""
    kid: float
    """Squared maximum mean discrepancy of the features, cubic kernel (arXiv 1801.01401)."""
    kid_deviation: float
    """Standard deviation of KID over subsets."""
    inception_score: float
    """exp of the mean KL divergence of class predictions from their mean (arXiv 1606.03498)."""
    inception_score_deviation: float
    """Standard deviation over ten splits."""
    precision: float
    """Share of the images within the real ones' manifold, 0 … 1 (arXiv 1904.06991)."""
    recall: float
    """Share of the real images within the generated ones' manifold, 0 … 1."""


def require_enough(count: int, width: int) -> None:
    """Check that a covariance of ``width`` features has full rank with ``count`` images.

    Raises:
        QualityError: it has not.
    """
    if count <= width:
        raise QualityError(f"count = {count}: FID on {width} features needs more than {width} images.")


def fid(features: Tensor, reference: Reference) -> float:
    """FID of features [N, D]."""
    statistics = [
        {"mu": part["mean"].numpy(), "sigma": part["covariance"].numpy()}
        for part in (pack_statistics(features), {"mean": reference.mean, "covariance": reference.covariance})
    ]
    return fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]


def kid(features: Tensor, reference: Reference, seed: int) -> tuple[float, float]:
    """KID of features [N, D], and its standard deviation over subsets."""
    size = min(KID_SUBSET_SIZE, len(features), len(reference.features))
    found = kid_features_to_metric(
        features, reference.features, kid_subsets=KID_SUBSETS, kid_subset_size=size, rng_seed=seed, verbose=False
    )
    return found[KEY_METRIC_KID_MEAN], found[KEY_METRIC_KID_STD]


def bootstrap_fids(
    sets: Sequence[Tensor],
    reference: Reference,
    resamples: int,
    generator: torch.Generator,
    advance: Advance = idle,
) -> Tensor:
    """FIDs [resamples, sets] of images drawn with replacement; the same rows from every set of features [N, D].

    Sets drawn from equal noise are thus resampled in pairs, which makes the spread of their difference small.
    """
    count = min(len(features) for features in sets)
    drawn = []
    for _ in range(resamples):
        rows = torch.randint(count, (count,), generator=generator)
        drawn.append([fid(features[rows], reference) for features in sets])
        advance()
    return torch.tensor(drawn, dtype=torch.float64)


def interval(value: float, drawn: Tensor) -> tuple[float, float]:
    """``value`` ± 1.96 standard deviations of its bootstrap [resamples].

    Not the bootstrap's percentiles: drawing with replacement raises every FID, so that they lie beside the value.
    """
    half = 1.96 * drawn.std().item()
    return value - half, value + half


def quality(generated: Features, reference: Reference, drawn: Tensor, seed: int = 0) -> Quality:
    """All figures of generated images; ``drawn`` [resamples] are their bootstrap FIDs."""
    value = fid(generated.pooled, reference)
    kid_mean, kid_deviation = kid(generated.pooled, reference, seed)
    score = isc_features_to_metric(generated.logits, rng_seed=seed)
    generator = stream("manifold", seed)
    count = min(len(generated), len(reference.features), MANIFOLD_IMAGES)
    manifolds = [
        features[torch.randperm(len(features), generator=generator)[:count]]
        for features in (generated.pooled, reference.features)
    ]
    manifold = prc_features_to_metric(*manifolds, verbose=False)
    return Quality(
        fid=value,
        fid_interval=interval(value, drawn),
        kid=kid_mean,
        kid_deviation=kid_deviation,
        inception_score=score[KEY_METRIC_ISC_MEAN],
        inception_score_deviation=score[KEY_METRIC_ISC_STD],
        precision=manifold[KEY_METRIC_PRECISION],
        recall=manifold[KEY_METRIC_RECALL],
    )
