"""What a U-Net takes beside noisy images: their size, class labels, and conditions along the channels.

A super-resolution or inpainting network is given [noisy image, condition], concatenated along the channels (SR3,
arXiv 2104.07636; latent diffusion, arXiv 2112.10752). The image has the channels that the condition leaves, and the
network predicts as many, or twice as many where it also learned a variance:

    C = in_channels − C',    out_channels = C or 2·C

Schedulers scale, noise and denoise the image alone.
"""

from __future__ import annotations

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ann2snn_diffusion.common.errors import A2SError


class ImageSizeError(A2SError):
    """A network that does not say how large its images are."""


class ConditionError(A2SError):
    """A condition that a network lacks, or one that it does not take."""


def sample_size(unet: UNet2DModel) -> tuple[int, int]:
    """Height and width in pixels.

    Raises:
        ImageSizeError: the config leaves them open.
    """
    size = unet.config["sample_size"]
    if size is None:
        raise ImageSizeError("The U-Net's config has sample_size = None; set it to the size of its images, such as 32.")
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def draw_labels(
    unet: UNet2DModel, count: int, generator: torch.Generator, shares: tuple[float, ...] = ()
) -> Tensor | None:
    """Random class labels for class-conditional networks, None for others.

    Args:
        shares: how often each of the first classes is drawn, others never; none: all equally often.
    """
    if unet.config["num_class_embeds"] is not None:
        if shares:
            return torch.multinomial(torch.tensor(shares), count, True, generator=generator).to(unet.device)
        return torch.randint(unet.config["num_class_embeds"], (count,), generator=generator).to(unet.device)
    if unet.config["class_embed_type"] == "timestep":
        return torch.randint(1000, (count,), generator=generator).to(unet.device)
    if unet.config["class_embed_type"] == "identity":
        width = unet.time_embedding.linear_2.out_features
        return torch.randn(count, width, generator=generator).to(unet.device)
    return None


def draw_noise(unet: UNet2DModel, count: int, generator: torch.Generator, condition: Tensor | None = None) -> Tensor:
    """White noise shaped as ``count`` noisy images of the network, [count, C, H, W]; ``condition`` lies beside them."""
    channels = image_channels(unet, condition)
    return torch.randn(count, channels, *sample_size(unet), generator=generator).to(unet.device)


def image_channels(unet: UNet2DModel, condition: Tensor | None) -> int:
    """Channels of the noisy image: those that a condition [M, C', H, W] leaves of the network's input."""
    return unet.config["in_channels"] - (0 if condition is None else condition.shape[1])


def in_turn(condition: Tensor | None, count: int, first: int = 0) -> Tensor | None:
    """``count`` of the conditions [M, C', H, W], used in turn from number ``first`` on; None where there are none."""
    return None if condition is None else condition[torch.arange(first, first + count) % len(condition)]


def beside(states: Tensor, condition: Tensor | None) -> Tensor:
    """[noisy image, condition]: what a network is given of noisy images [N, C, H, W] and conditions [N, C', H, W]."""
    return states if condition is None else torch.cat([states, condition.to(states)], 1)


def require_condition(unet: UNet2DModel, condition: Tensor | None) -> None:
    """Refuse conditions that do not fit a network, and a network that lacks one.

    Args:
        condition: [M, C', H, W], M at least 1; None: there is none.

    Raises:
        ConditionError: says what is expected.
    """
    takes, gives = unet.config["in_channels"], unet.config["out_channels"]
    network, widths = f"in_channels = {takes} and out_channels = {gives}", _widths(takes, gives)
    if condition is None:
        if takes_condition(unet):
            beside = f"a `condition` beside the noisy image ({widths}), or without one " if widths else ""
            raise ConditionError(f"The network has {network}: expected {beside}as many channels out, or twice as many "
                                 "with a learned variance.")  # fmt: skip
        return
    shape = list(condition.shape)
    if condition.ndim != 4 or not len(condition) or tuple(shape[2:]) != sample_size(unet):
        height, width = sample_size(unet)
        raise ConditionError(f"condition: expected shape [N, C, {height}, {width}] with N at least 1, got {shape}.")
    image = takes - shape[1]
    if image < 1 or gives not in (image, 2 * image):
        raise ConditionError(f"condition: expected {widths or 'none'} beside the noisy image of a network with "
                             f"{network}, got {shape[1]} channels.")  # fmt: skip
    if not condition.is_floating_point():
        raise ConditionError(f"condition: expected floating-point numbers as trained on, got {condition.dtype}.")
    if not torch.isfinite(condition).all():
        raise ConditionError("condition: expected finite numbers, got some that are not.")


def takes_condition(unet: UNet2DModel) -> bool:
    """Whether a network cannot do with noisy images alone.

    One with C' = C that learned its variance has as many channels in as out, as without a condition: only what it was
    converted with tells.
    """
    takes, gives, origin = unet.config["in_channels"], unet.config["out_channels"], unet.config.get("converted_from")
    return gives not in (takes, 2 * takes) or (isinstance(origin, dict) and "condition_channels" in origin)


def refuse_conditional(unet: UNet2DModel, what: str) -> None:
    """Refuse ``what``, a command in words, for a network that takes a condition.

    Raises:
        ConditionError: names both.
    """
    takes, gives = unet.config["in_channels"], unet.config["out_channels"]
    if takes_condition(unet):
        raise ConditionError(f"The network has in_channels = {takes} and out_channels = {gives}, and takes a condition "
                             f"beside the noisy image: {what} is not supported for it.")  # fmt: skip


def _widths(takes: int, gives: int) -> str:
    """Channels that a condition can have, in words; empty where it can have none."""
    learned = takes - gives // 2 if gives % 2 == 0 else 0
    found = [f"{takes - gives}"] if takes > gives else []
    found += [f"{learned} with a learned variance"] if 0 < learned < takes else []
    return f"channels: {' or '.join(found)}" if found else ""
