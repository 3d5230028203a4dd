"""Spiking layers: a stock layer with neurons before every synapse, the stock layer's parameters under their own names.

Whatever calibration and training change of a weight stands beside it, as a correction: analog, the network stays the
ANN to the bit.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from ann2snn_diffusion.spiking.neuron import ForwardPass, SpikingNeuron


def corrected(layer: CorrectedConv2d | CorrectedLinear) -> tuple[Tensor, Tensor | None]:
    """The weight and bias in force: the ANN's own, plus the correction unless the network runs as the ANN."""
    if layer.forward_pass.analog:
        return layer.weight, layer.bias
    bias = None if layer.bias is None or layer.bias_correction is None else layer.bias + layer.bias_correction
    return layer.weight + layer.weight_correction, bias


class CorrectedConv2d(nn.Conv2d):
    """A convolution that receives spikes, [S·B, C, H, W]: the ANN's parameters, and beside them a correction.

    Attributes:
        weight_correction, bias_correction: what calibration and training add to ``weight`` and ``bias``; 0 at first.
    """

    def __init__(self, conv: nn.Conv2d, forward_pass: ForwardPass) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # pyright: ignore[reportArgumentType]
            conv.stride,  # pyright: ignore[reportArgumentType]
            conv.padding,  # pyright: ignore[reportArgumentType]
            conv.dilation,  # pyright: ignore[reportArgumentType]
            conv.groups,
            conv.bias is not None,
            conv.padding_mode,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.weight_correction = nn.Parameter(torch.zeros_like(conv.weight))
        self.bias_correction = None if conv.bias is None else nn.Parameter(torch.zeros_like(conv.bias))
        self.forward_pass = forward_pass

    def forward(self, input: Tensor) -> Tensor:
        """Accumulate."""
        return self._conv_forward(input, *corrected(self))


class CorrectedLinear(nn.Linear):
    """A linear layer that receives spikes, [S·B, L, C]: the ANN's parameters, and beside them a correction.

    Attributes:
        weight_correction, bias_correction: as in `CorrectedConv2d`.
    """

    def __init__(self, linear: nn.Linear, forward_pass: ForwardPass) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.weight_correction = nn.Parameter(torch.zeros_like(linear.weight))
        self.bias_correction = None if linear.bias is None else nn.Parameter(torch.zeros_like(linear.bias))
        self.forward_pass = forward_pass

    def forward(self, input: Tensor) -> Tensor:
        """Accumulate."""
        return F.linear(input, *corrected(self))


class SpikingConv2d(CorrectedConv2d):
    """A convolution with its own neurons before it."""

    def __init__(self, conv: nn.Conv2d, neuron: SpikingNeuron) -> None:
        super().__init__(conv, neuron.forward_pass)
        self.neuron = neuron

    def forward(self, input: Tensor) -> Tensor:
        """Spike, then accumulate."""
        return super().forward(self.neuron(input))


class SpikingOutput(SpikingConv2d):
    """The last convolution: a correction for every noise segment, of the spikes and of the noisy image beside them.

    At high noise ε is nearly the noisy image x_t. What carries x_t through spikes carries their rounding too, and the
    sampler, which divides by √ᾱ, draws it. So x_t also arrives here as an analog current, as it does at conv_in:

        ε = W·s + b + ΔW_k·[s, x_t] + Δb_k    in noise segment k

    Attributes:
        weight_correction: ΔW, [segments, O, C + channels of x_t, kh, kw]; 0 at first.
        bias_correction: Δb, [segments, O].
    """

    def __init__(self, conv: nn.Conv2d, neuron: SpikingNeuron, image_channels: int) -> None:
        super().__init__(conv, neuron)
        segments, (out, received, *kernel) = len(neuron.threshold), conv.weight.shape
        self.weight_correction = nn.Parameter(conv.weight.new_zeros(segments, out, received + image_channels, *kernel))
        self.bias_correction = nn.Parameter(conv.weight.new_zeros(segments, out))

    def forward(self, input: Tensor) -> Tensor:
        """[S·B, C, H, W] → [S·B, O, H, W]."""
        spikes = self.neuron(input)
        output = self._conv_forward(spikes, self.weight, self.bias)
        if self.forward_pass.analog or self.forward_pass.image is None:
            return output
        received = torch.cat([spikes, self.forward_pass.image.to(spikes.dtype)], dim=1)
        weight, bias = self.weight_correction.flatten(0, 1), self.bias_correction.flatten()
        corrections = self._conv_forward(received, weight, bias).unflatten(1, (-1, self.out_channels))
        if self.forward_pass.segment is None:
            return output + corrections[:, 0]
        return output + corrections[torch.arange(len(output), device=output.device), self.forward_pass.segment]

    def correction_of_segment(self) -> nn.Conv2d:
        """A convolution shaped as the correction of one noise segment, its weights not set."""
        return nn.utils.skip_init(  # pyright: ignore[reportReturnType]
            nn.Conv2d, self.weight_correction.shape[2], self.out_channels, self.kernel_size, self.stride,
            self.padding, self.dilation, device=self.weight.device, dtype=self.weight.dtype,
        )  # fmt: skip


class SpikingLinear(CorrectedLinear):
    """A linear layer with its own neurons before it."""

    def __init__(self, linear: nn.Linear, neuron: SpikingNeuron) -> None:
        super().__init__(linear, neuron.forward_pass)
        self.neuron = neuron

    def forward(self, input: Tensor) -> Tensor:
        """Spike, then accumulate."""
        return super().forward(self.neuron(input))


class SpikingUpsample2D(Upsample2D):
    """Nearest-neighbour upsampling of spikes, then its convolution: neurons stand where there are fewer pixels."""

    def __init__(self, layer: Upsample2D, neuron: SpikingNeuron) -> None:
        if not isinstance(layer.conv, nn.Conv2d):
            raise TypeError(f"SpikingUpsample2D: expected a layer with a convolution, got {type(layer.conv).__name__}.")
        super().__init__(
            layer.channels, out_channels=layer.out_channels, name=layer.name, interpolate=layer.interpolate
        )
        self.use_conv, self.use_conv_transpose = layer.use_conv, layer.use_conv_transpose
        self.conv = CorrectedConv2d(layer.conv, neuron.forward_pass)
        self.neuron = neuron

    def forward(self, hidden_states: Tensor, output_size: int | None = None) -> Tensor:
        """[S·B, C, H, W] → [S·B, C', 2H, 2W]."""
        return super().forward(self.neuron(hidden_states), output_size)


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
        tokens = self.tokens(tokens)
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
