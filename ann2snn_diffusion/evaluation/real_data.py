"""The real images that an evaluation measures against, and the features that it measures with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ann2snn_diffusion.common.progress import Track, silent
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.data.datasets import DataError, RealImages, published_images, training_images
from ann2snn_diffusion.diffusion.conditioning import image_channels, sample_size
from ann2snn_diffusion.evaluation.features import FeatureNetwork, load_features
from ann2snn_diffusion.evaluation.image_quality import require_enough
from ann2snn_diffusion.evaluation.references import Reference, bundled_reference, bundled_test_features, reference_of
from ann2snn_diffusion.models.folders import BUNDLED
from ann2snn_diffusion.models.loading import Converted


@dataclass(frozen=True)
class RealData:
    """What images are measured against.

    Attributes:
        network: the feature network.
        reference: features of real images.
        held_out: features of other real images, [N, D]: their FID is the floor. None: none at hand.
        class_counts: how many real images there are of each class, by label; none: they carry no labels.
    """

    network: FeatureNetwork
    reference: Reference
    held_out: Tensor | None
    class_counts: tuple[int, ...] = ()


def has_bundled_data(source: str, data: str | None, features: str | None) -> bool:
    """Whether a model converted from ``source`` is measured against the statistics that ship with this package."""
    return source == BUNDLED and data is None and features in (None, "fashion-mnist")


def reference_data(
    converted: Converted,
    data: str | None,
    root: Path,
    features: str | None,
    inception_weights: Path | None,
    count: int,
    track: Track = silent,
) -> RealData | None:
    """What ``count`` images of a converted model are measured against; None: there is nothing.

    Args:
        data: a folder or a published data set; None: what ships with this package, if it fits.
        features: as `load_features` names them; None: inception, or those that ship with the statistics.

    Raises:
        SpecError: features without data.
        QualityError: too few images for the features.
        DataError, ImagesError, FeaturesError: data or features are not to be had.
    """
    unet = converted.unet
    images, device = (image_channels(unet, converted.condition), sample_size(unet)), str(unet.device)
    if converted.decoder is not None:
        images = converted.decoder.image_shape(sample_size(unet))
    if has_bundled_data(converted.name, data, features):
        return bundled_data(*images, device)
    require(data is not None or features is None, "features", features, "`data` beside it")
    if data is None:
        return None
    network = load_features(features or "inception", *images, inception_weights, device)  # pyright: ignore[reportArgumentType]
    require_enough(count, network.width)
    return real_data(data, root, network, *images, track)


def bundled_data(channels: int, size: tuple[int, int], device: str = "cpu") -> RealData:
    """The statistics of Fashion-MNIST that ship with this package, under its own features.

    Raises:
        FeaturesError: the model draws other images.
    """
    network = load_features("fashion-mnist", channels, size, device=device)
    return RealData(network, bundled_reference(), bundled_test_features())


def real_data(
    data: str, root: Path, network: FeatureNetwork, channels: int, size: tuple[int, int], track: Track = silent
) -> RealData:
    """A folder of images, or a published data set: its training split, with its test split as the floor.

    Args:
        data: a folder of images, or the name of a data set.
        root: where data sets lie, or are downloaded to.
        network: gives the features.
        channels: of the images that the model draws.
        size: height and width of these images.
        track: told of every stage and step.

    Raises:
        DataError, ImagesError: see `published_images` and `folder_images`.
    """
    images = training_images(data, root, channels, size)
    reference = _features(images, network, track)
    if Path(data).is_dir():
        return RealData(network, reference, None, images.class_counts)
    held_out = _features(published_images(data, root, "test", channels, size), network, track)
    return RealData(network, reference, held_out.features, images.class_counts)


def _features(images: RealImages, network: FeatureNetwork, track: Track) -> Reference:
    if len(images) <= network.width:
        raise DataError(
            f"{images.name}: {len(images)} images; FID on {network.width} features needs more than {network.width}."
        )
    return reference_of(images, network, track(f"features of {images.name}", len(images)))
