"""Spiking layers: a stock layer with neurons before every synapse, its parameters under their own names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Self, cast

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from ann2snn_diffusion.spiking.corrected import CorrectedConv2d, CorrectedLinear, Correction
from ann2snn_diffusion.spiking.forward_pass import accumulated, current
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.ticks import value_of

OUTPUT_STRENGTH = 1e-2
"""Ridge strength of the output's corrections relative to that of all others: they have few inputs and many positions,
and exchange the image that spikes carry for the image itself, two large weights that nearly cancel."""
OUTPUT_POSITIONS = 16
"""Positions that the output's corrections are found from, relative to those of thresholds."""


class SpikingConv2d(CorrectedConv2d):
    """A convolution with its own neurons before it."""

    def __init__(self, conv: nn.Conv2d, neuron: SpikingNeuron) -> None:
        super().__init__(conv)
        self.neuron = neuron

    @property
    def encoder(self) -> SpikingNeuron:
        """The neuron before the weights."""
        return self.neuron

    def forward(self, input: Tensor) -> Tensor:
        """Spike, then accumulate."""
        return accumulated(super().forward, self.neuron, input)


class SpikingOutput(SpikingConv2d):
    """The last convolution: a correction for every noise segment, of the spikes and of the noisy image beside them.

    At high noise ε is nearly the noisy image x_t. What carries x_t through spikes carries their rounding too, and the
    sampler, which divides by √ᾱ, draws it. So x_t also arrives here as an analog current, as it does at conv_in:

        ε = W·s + b + ΔW_k·[s, x_t] + Δb_k    in noise segment k

    Attributes:
        weight_correction: ΔW, [segments, O, C + channels of x_t, kh, kw]; 0 at first.
        bias_correction: Δb, [segments, O].
        weight, bias: W and b; once folded [W, 0] + ΔW and b + Δb, of their shapes.
    """

    stored_as = torch.float32
    """Two large weights nearly cancel."""

    def __init__(self, conv: nn.Conv2d, neuron: SpikingNeuron, image_channels: int) -> None:
        super().__init__(conv, neuron)
        segments, (out, received, *kernel) = len(neuron.threshold), conv.weight.shape
        self.weight_correction = nn.Parameter(conv.weight.new_zeros(segments, out, received + image_channels, *kernel))
        self.bias_correction = nn.Parameter(conv.weight.new_zeros(segments, out))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # All segments together are one convolution's weight; of five dimensions, torch knows no channels_last.
        def each(tensor: Tensor) -> Tensor:
            return fn(tensor.flatten(0, 1)).unflatten(0, tensor.shape[:2]) if tensor.ndim == 5 else fn(tensor)

        return super()._apply(each, recurse)

    def forward(self, input: Tensor) -> Tensor:
        """[S·B, C, H, W] → [S·B, O, H, W]."""
        return accumulated(self._accumulate, self.neuron, input)

    def _accumulate(self, spikes: Tensor) -> Tensor:
        if self.folded:
            return self._by_segment(spikes, *self.in_force())
        output = self._conv_forward(spikes, self.weight, self.bias)
        if current().analog or current().image is None:
            return output
        return output + self._by_segment(spikes, self.weight_correction, self.bias_correction)

    def in_force(self) -> tuple[Tensor, Tensor]:
        """The weight and bias of all noise segments, shaped as the corrections are."""
        assert self.bias is not None
        if self.folded:
            return self.weight, self.bias
        beside = self.weight_correction.shape[2] - self.in_channels
        return F.pad(self.weight, (0, 0, 0, 0, 0, beside)) + self.weight_correction, self.bias + self.bias_correction

    def _by_segment(self, spikes: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """What [s, x_t] of each row gives by the weight and bias of its noise segment."""
        segment = current().segment
        # Where all rows are in one noise segment, that alone is computed.
        present = slice(None) if segment is None or segment.shape[0] > 1 else segment
        given = self._conv_forward(self.received(spikes), weight[present].flatten(0, 1), bias[present].flatten())
        given = given.unflatten(1, (-1, self.out_channels))
        if segment is None or segment.shape[0] == 1:
            return given[:, 0]
        return given[torch.arange(given.shape[0], device=given.device), segment]

    def received(self, spikes: Tensor) -> Tensor:
        """[s, x_t] of all rows, or of the last ones of a pass under way, [B, C + channels of x_t, H, W]."""
        image = current().image
        if image is None:
            raise RuntimeError(
                "SpikingOutput: expected a forward pass under way, which knows the noisy image, got none."
            )
        return torch.cat([spikes, value_of(image, spikes.shape[0]).to(spikes.dtype)], dim=1)

    def corrections(self, strength: float, positions: int) -> Iterator[Correction]:
        """One for each noise segment; see `Corrected.corrections`."""
        shaped: nn.Conv2d = nn.utils.skip_init(  # pyright: ignore[reportAssignmentType]
            nn.Conv2d, self.weight_correction.shape[2], self.out_channels, self.kernel_size, self.stride,
            self.padding, self.dilation, device=self.weight.device, dtype=self.weight.dtype,
        )  # fmt: skip
        parts = zip(self.weight_correction.data, self.bias_correction.data, strict=True)
        strength, positions = OUTPUT_STRENGTH * strength, OUTPUT_POSITIONS * positions
        for segment, (weight, bias) in enumerate(parts):
            yield Correction(shaped, weight, bias, strength, positions, segment)


class SpikingLinear(CorrectedLinear):
    """A linear layer with its own neurons before it."""

    def __init__(self, linear: nn.Linear, neuron: SpikingNeuron) -> None:
        super().__init__(linear)
        self.neuron = neuron

    @property
    def encoder(self) -> SpikingNeuron:
        """The neuron before the weights."""
        return self.neuron

    def forward(self, input: Tensor) -> Tensor:
        """Spike, then accumulate."""
        return accumulated(super().forward, self.neuron, input)


class SpikingUpsample2D(Upsample2D):
    """Nearest-neighbour upsampling of spikes, then its convolution: neurons stand where there are fewer pixels."""

    def __init__(self, layer: Upsample2D, neuron: SpikingNeuron) -> None:
        if not isinstance(layer.conv, nn.Conv2d):
            raise TypeError(f"SpikingUpsample2D: expected a layer with a convolution, got {type(layer.conv).__name__}.")
        super().__init__(
            layer.channels, out_channels=layer.out_channels, name=layer.name, interpolate=layer.interpolate
        )
        self.use_conv, self.use_conv_transpose = layer.use_conv, layer.use_conv_transpose
        self.conv = CorrectedConv2d(layer.conv)
        self.neuron = neuron

    def forward(self, hidden_states: Tensor, output_size: int | None = None) -> Tensor:
        """[S·B, C, H, W] → [S·B, C', 2H, 2W]."""
        return accumulated(partial(super().forward, output_size=output_size), self.neuron, hidden_states)


class SpikingAttnProcessor(nn.Module):
    """Self-attention whose products only accumulate: q·kᵀ and p·v see spikes of k and v; softmax stays analog.

    One signed encoder drives to_q, to_k and to_v, which share their input; to_out has its own.
    """

    def __init__(self, tokens: SpikingNeuron, key: SpikingNeuron, value: SpikingNeuron) -> None:
        super().__init__()
        self.tokens, self.key, self.value = tokens, key, value

    # diffusers reads the keyword arguments that a processor accepts off __call__.
    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """[S·B, C, H, W] → the same shape; a UNet2DModel passes neither encoder states nor a mask.

        Raises:
            ValueError: encoder states or a mask were passed.
        """
        del temb
        if encoder_hidden_states is not None or attention_mask is not None:
            raise ValueError(
                "SpikingAttnProcessor: expected self-attention, got encoder_hidden_states or attention_mask."
            )
        batch, channels, height, width = hidden_states.shape
        tokens = hidden_states.view(batch, channels, height * width).transpose(1, 2)
        if attn.group_norm is not None:
            tokens = attn.group_norm(tokens.transpose(1, 2)).transpose(1, 2)
        tokens = self.tokens(tokens.contiguous())  # else each of three projections copies them
        to_k, to_v, to_out = (cast(nn.Module, layer) for layer in (attn.to_k, attn.to_v, attn.to_out))
        query, key, value = attn.to_q(tokens), self.key(to_k(tokens)), self.value(to_v(tokens))
        query, key, value = (part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in (query, key, value))
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        for layer in to_out.children():
            attended = layer(attended)
        image = attended.transpose(-1, -2).reshape(batch, channels, height, width)
        if attn.residual_connection:
            image = image + hidden_states
        return image / attn.rescale_output_factor
