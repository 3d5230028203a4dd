"""Which pipeline a network is handed out in: that of its ANN, or one that takes class labels and any scheduler."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    CMStochasticIterativeScheduler,
    ConsistencyModelPipeline,
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    ImagePipelineOutput,
    LDMPipeline,
    ScoreSdeVePipeline,
    ScoreSdeVeScheduler,
    UNet2DModel,
)

from ann2snn_diffusion.diffusion.sampling import Drawing, sample
from ann2snn_diffusion.models.decoder import Decoder
from ann2snn_diffusion.models.loading import Source

KEPT: dict[str, Any] = {kind.__name__: kind for kind in (DDPMPipeline, DDIMPipeline, LDMPipeline)}
"""Pipelines of diffusers that draw what a UNet2DModel gives them."""


class UNetPipeline(DiffusionPipeline):
    """Images of a UNet2DModel by any scheduler, of class labels and with a decoder where there are any."""

    # The name that pipelines save: importing the package is enough to load one.
    __module__ = "ann2snn_diffusion"
    _optional_components = ["vae"]  # noqa: RUF012  as diffusers declares it

    def __init__(self, unet: UNet2DModel, scheduler: Any, vae: Any = None) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler, vae=vae)

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        class_labels: tuple[int, ...] | list[int] = (),
        generator: torch.Generator | None = None,
        num_inference_steps: int | None = None,
        output_type: str = "pil",
        condition: torch.Tensor | None = None,
    ) -> ImagePipelineOutput:
        """Draw ``batch_size`` images.

        Args:
            class_labels: used in turn; none: drawn.
            num_inference_steps: 50 by default, or as many as the scheduler has.
            output_type: ``pil``, or ``np``: [N, H, W, C] in [0, 1].
            condition: what lies beside noisy images, [M, C', H, W], used in turn; None: the network takes none.

        Raises:
            SamplingError, ConditionError: see `sample`.
        """
        parts: Any = self
        most = parts.scheduler.config.num_train_timesteps
        seed = int(torch.randint(2**31, (1,), generator=generator))
        decode = None if parts.vae is None else Decoder("vae", parts.vae)
        drawing = Drawing(
            batch_size, num_inference_steps or min(50, most), seed, batch_size, tuple(class_labels), decode=decode,
            condition=condition,
        )  # fmt: skip
        images = sample(parts.unet, parts.scheduler, drawing).permute(0, 2, 3, 1).float().numpy()
        return ImagePipelineOutput(images=self.numpy_to_pil(images) if output_type == "pil" else images)


def pipeline_of(source: Source) -> DiffusionPipeline:
    """The pipeline that a network is handed out in: of the class that it came in, if that can draw what it gives."""
    unet, decoder = source.unet, source.decoder
    scheduler: Any = source.scheduler
    if source.condition is not None:
        return UNetPipeline(unet, scheduler, None if decoder is None else decoder.network)
    labelled = unet.config["num_class_embeds"] is not None or unet.config["class_embed_type"] is not None
    plain = not labelled and unet.config["in_channels"] == unet.config["out_channels"]
    square = decoder is None and isinstance(unet.config["sample_size"], int)
    if plain and square and isinstance(scheduler, ScoreSdeVeScheduler) and unet.config["in_channels"] == 3:
        return ScoreSdeVePipeline(unet, scheduler)
    if square and isinstance(scheduler, CMStochasticIterativeScheduler) and unet.config["class_embed_type"] is None:
        return ConsistencyModelPipeline(unet, scheduler)
    size, usual = unet.config["sample_size"], isinstance(scheduler, DDPMScheduler | DDIMScheduler)
    if plain and decoder is not None and decoder.name == "vqvae" and isinstance(size, int):
        return KEPT["LDMPipeline"](vqvae=decoder.network, unet=unet, scheduler=scheduler)
    if plain and decoder is None and size is not None and usual:
        wanted = source.pipeline
        return KEPT[wanted if wanted in KEPT and wanted != "LDMPipeline" else "DDPMPipeline"](unet, scheduler)
    return UNetPipeline(unet, scheduler, None if decoder is None else decoder.network)
