"""One short rule per layer type: how it becomes spiking.

A rule of your own is a function registered for the layer's class:

    @to_spiking.register
    def _(layer: MyBlock, site: Site) -> nn.Module:
        layer.conv = spiking_synapse(layer.conv, site / "conv")
        return layer

Rules put neurons in place; they do not set thresholds. A layer without a rule is an error that names it.
"""

from __future__ import annotations

import runpy
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import singledispatch
from pathlib import Path
from typing import cast

from diffusers import UNet2DModel
from diffusers.models import activations, attention_processor, downsampling, resnet, upsampling
from diffusers.models.unets import unet_2d_blocks as blocks
from torch import nn

from ann2snn_diffusion.common.errors import A2SError, first_line
from ann2snn_diffusion.spiking.corrected import CorrectedLinear
from ann2snn_diffusion.spiking.layers import (
    SpikingAttnProcessor,
    SpikingConv2d,
    SpikingLinear,
    SpikingOutput,
    SpikingUpsample2D,
)
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.spec import SpikeSpec


class UnsupportedLayerError(A2SError, TypeError):
    """A layer for which there is no rule, or whose configuration its rule does not cover."""


def named_by(module: str, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern (fnmatch) names this module or one around it."""
    parts = module.split(".")
    names = [".".join(parts[: end + 1]) for end in range(len(parts))]
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


@dataclass(frozen=True)
class Site:
    """Where in the network a rule is at work."""

    spec: SpikeSpec
    name: str = ""

    def __truediv__(self, child: str) -> Site:
        return replace(self, name=f"{self.name}.{child}" if self.name else child)

    @property
    def analog(self) -> bool:
        """This module or one around it was asked to stay analog."""
        return named_by(self.name, self.spec.keep)

    def neuron(self, channels: int, signed: bool = True, dim: int = 1) -> SpikingNeuron:
        """A population with one threshold per channel and noise segment."""
        doubled = named_by(self.name, self.spec.doubled)
        return SpikingNeuron(channels, signed, self.spec, dim, doubled)


def spiking_synapse(synapse: nn.Module, site: Site, signed: bool = True) -> nn.Module:
    """Put a neuron before a Conv2d or Linear; leave it alone where the site stays analog.

    Raises:
        UnsupportedLayerError: another kind of synapse.
    """
    if site.analog:
        return synapse
    if isinstance(synapse, nn.Conv2d):
        return SpikingConv2d(synapse, site.neuron(synapse.in_channels, signed))
    if isinstance(synapse, nn.Linear):
        return SpikingLinear(synapse, site.neuron(synapse.in_features, signed, dim=-1))
    raise no_rule(synapse, site)


def convert_children(layer: nn.Module, site: Site) -> nn.Module:
    """Replace every child by what its own rule makes of it; a child under two names stays one child."""
    converted: dict[int, nn.Module] = {}
    for name, child in layer._modules.items():
        if child is not None:
            if id(child) not in converted:
                converted[id(child)] = _by_rule(child, site / name)
            setattr(layer, name, converted[id(child)])
    return layer


def _by_rule(layer: nn.Module, site: Site) -> nn.Module:
    """`to_spiking`, whose rules may be a user's."""
    try:
        made = to_spiking(layer, site)
    except A2SError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UnsupportedLayerError(f"{site.name}: the rule for a {type(layer).__name__} failed: {reason}") from error
    if not isinstance(made, nn.Module):
        kind = type(layer).__name__
        raise UnsupportedLayerError(f"{site.name}: the rule for a {kind} returned {made!r}; expected a module.")
    return made


def load_rules(file: Path) -> None:
    """Run a Python file that registers rules, with all that it does.

    Raises:
        UnsupportedLayerError: the file is missing, fails, or exits.
    """
    try:
        runpy.run_path(str(file), run_name="a2s_rules")
    except (Exception, SystemExit) as error:
        raise UnsupportedLayerError(f"`rules` {file}: {type(error).__name__}: {first_line(error)}") from error


def no_rule(layer: nn.Module, site: Site) -> UnsupportedLayerError:
    """The error for a layer that cannot be converted, with what the user can do."""
    return UnsupportedLayerError(
        f"{site.name or 'the model'}: no rule converts a {type(layer).__name__}. "
        f"Keep it analog: name '{site.name}' in `keep`; or add a rule: name the file that registers it as `rules`."
    )


@singledispatch
def to_spiking(layer: nn.Module, site: Site) -> nn.Module:
    """The spiking counterpart of ``layer``; may change ``layer`` in place.

    Raises:
        UnsupportedLayerError: no rule for this type. Only in the layerwise schedule can such a layer stay analog:
            the synchronous one must know which layers are linear.
    """
    if site.analog and site.spec.schedule == "layerwise":
        return layer
    raise no_rule(layer, site)


@to_spiking.register(nn.ModuleList)
@to_spiking.register(blocks.DownBlock2D)
@to_spiking.register(blocks.AttnDownBlock2D)
@to_spiking.register(blocks.ResnetDownsampleBlock2D)
@to_spiking.register(blocks.UNetMidBlock2D)
@to_spiking.register(blocks.UpBlock2D)
@to_spiking.register(blocks.AttnUpBlock2D)
@to_spiking.register(blocks.ResnetUpsampleBlock2D)
def _container(layer: nn.Module, site: Site) -> nn.Module:
    return convert_children(layer, site)


@to_spiking.register(blocks.SkipDownBlock2D)
@to_spiking.register(blocks.AttnSkipDownBlock2D)
def _with_image(layer: nn.Module, site: Site) -> nn.Module:
    # Its skip_conv receives the smaller noisy image as an analog input current, as conv_in does.
    skip_conv, layer.skip_conv = layer.skip_conv, None  # pyright: ignore[reportArgumentType]
    convert_children(layer, site).skip_conv = skip_conv
    return layer


@to_spiking.register(blocks.SkipUpBlock2D)
@to_spiking.register(blocks.AttnSkipUpBlock2D)
def _to_image(layer: nn.Module, site: Site) -> nn.Module:
    # Its skip_conv stands behind an activation, as the last convolution does.
    skip_conv, layer.skip_conv = layer.skip_conv, None  # pyright: ignore[reportArgumentType]
    convert_children(layer, site)
    if isinstance(skip_conv, nn.Module):
        layer.skip_conv = spiking_synapse(skip_conv, site / "skip_conv", site.spec.signed_activations)
    return layer


@to_spiking.register(nn.Identity)
@to_spiking.register(nn.Dropout)
@to_spiking.register(nn.AvgPool2d)
def _linear_without_weights(layer: nn.Module, site: Site) -> nn.Module:
    del site
    return layer


@to_spiking.register(downsampling.FirDownsample2D)
@to_spiking.register(upsampling.FirUpsample2D)
def _fixed_filter(layer: downsampling.FirDownsample2D | upsampling.FirUpsample2D, site: Site) -> nn.Module:
    if layer.use_conv:
        raise no_rule(layer, site)
    return layer


@to_spiking.register(nn.Conv2d)
@to_spiking.register(nn.Linear)
def _synapse(layer: nn.Module, site: Site) -> nn.Module:
    return spiking_synapse(layer, site)


@to_spiking.register(nn.GroupNorm)
def _analog_step(layer: nn.Module, site: Site) -> nn.Module:
    del site
    return layer


for _kind in {type(activations.get_activation(name)) for name in activations.ACT2CLS}:
    to_spiking.register(_kind, _analog_step)


@to_spiking.register
def _downsample(layer: downsampling.Downsample2D, site: Site) -> nn.Module:
    if layer.norm is not None:
        raise no_rule(layer, site)
    return convert_children(layer, site)


@to_spiking.register
def _upsample(layer: upsampling.Upsample2D, site: Site) -> nn.Module:
    if layer.norm is not None or layer.name != "conv":
        raise no_rule(layer, site)
    if layer.conv is None or (site / "conv").analog:
        return layer
    return SpikingUpsample2D(layer, site.neuron(layer.channels))


@to_spiking.register
def _resnet(layer: resnet.ResnetBlock2D, site: Site) -> nn.Module:
    # time_emb_proj depends on the diffusion timestep alone: analog, one row per step, a table on hardware.
    signed = site.spec.signed_activations
    for name in ("norm1", "norm2", "nonlinearity", "upsample", "downsample", "conv_shortcut"):
        if isinstance(child := getattr(layer, name), nn.Module):
            setattr(layer, name, to_spiking(child, site / name))
    layer.conv1 = cast(nn.Conv2d, spiking_synapse(layer.conv1, site / "conv1", signed))
    layer.conv2 = cast(nn.Conv2d, spiking_synapse(layer.conv2, site / "conv2", signed))
    return layer


@to_spiking.register
def _attention(layer: attention_processor.Attention, site: Site) -> nn.Module:
    stock = isinstance(layer.processor, attention_processor.AttnProcessor2_0)
    extras = (layer.spatial_norm, layer.norm_q, layer.norm_k, layer.norm_cross)
    if not stock or layer.is_cross_attention or any(part is not None for part in extras):
        raise no_rule(layer, site)
    if layer.group_norm is not None:
        layer.group_norm = cast(nn.GroupNorm, to_spiking(layer.group_norm, site / "group_norm"))
    to_out = cast(nn.ModuleList, layer.to_out)
    to_out[0] = spiking_synapse(to_out[0], site / "to_out.0")
    if not site.analog:
        for name in ("to_q", "to_k", "to_v"):
            setattr(layer, name, CorrectedLinear(getattr(layer, name)))
        widths = (layer.query_dim, layer.inner_kv_dim, layer.inner_kv_dim)
        processor = SpikingAttnProcessor(*(site.neuron(width, dim=-1) for width in widths))
        layer.set_processor(processor)  # pyright: ignore[reportArgumentType]
    return layer


@to_spiking.register
def _unet(layer: UNet2DModel, site: Site) -> nn.Module:
    # conv_in receives the noisy image as an analog input current (direct encoding, SDDPM §4.1).
    for name in ("down_blocks", "mid_block", "up_blocks", "conv_norm_out", "conv_act"):
        if (child := getattr(layer, name)) is not None:
            setattr(layer, name, to_spiking(child, site / name))
    output = site / "conv_out"
    if not output.analog:
        neuron = output.neuron(layer.conv_out.in_channels, site.spec.signed_activations)
        layer.conv_out = SpikingOutput(layer.conv_out, neuron, layer.conv_in.in_channels)
    return layer
