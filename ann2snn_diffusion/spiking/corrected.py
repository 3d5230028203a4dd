"""Weights that receive spikes: the ANN's own, and beside them a correction.

Whatever calibration and training change of a weight stands beside it: analog, the network stays the ANN to the bit.
Folded, a layer has the sum of the two and no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ann2snn_diffusion.spiking.forward_pass import current
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from calibration.correct import LinearMap


@dataclass(frozen=True)
class Correction:
    """A correction, and how calibration is to find it."""

    linear: LinearMap
    """A linear map of its shape, from what the layer receives to what it gives."""
    weight: Tensor
    """ΔW, shaped as the weight of ``linear``; what is added to it takes effect in the layer."""
    bias: Tensor | None
    """Δb, [O]; None: the layer has no bias."""
    strength: float
    """Relative ridge strength."""
    positions: int
    """Positions that it is found from."""
    segment: int | None = None
    """Noise segment of the rows that it acts on; None: all rows."""

    def add(self, weight: Tensor, bias: Tensor) -> None:
        """ΔW and Δb grow by ``weight`` and, where there is one, ``bias``."""
        self.weight.add_(weight)
        if self.bias is not None:
            self.bias.add_(bias)


class Corrected(nn.Module):
    """What all such layers share; a base class beside the stock layer's.

    Attributes:
        weight, bias: the ANN's own; once folded, with the correction in them.
        weight_correction, bias_correction: what calibration and training add to ``weight`` and ``bias``; 0 at first,
            no parameters any more once folded.
        folded: whether weight and correction have become one.
    """

    weight: Tensor
    bias: Tensor | None
    folded = False

    own_parameters = ("weight_correction", "bias_correction")
    """The parameters that the ANN has not."""
    stored_as = torch.float16
    """Of the weight's correction, which is small beside the weight."""

    @property
    def encoder(self) -> SpikingNeuron | None:
        """The layer's own neuron, whose spikes the weights receive; None: the layer's input has come from one."""
        return None

    def received(self, spikes: Tensor) -> Tensor:
        """What the correction acts on, where the weights receive ``spikes``."""
        return spikes

    def corrections(self, strength: float, positions: int) -> Iterator[Correction]:
        """All corrections of this layer.

        Args:
            strength: relative ridge strength of a layer like most.
            positions: positions that thresholds are solved from, as a measure of how many are enough.
        """
        assert isinstance(self, LinearMap)
        bias = None if self.bias_correction is None else self.bias_correction.data
        count = 4 * positions + 2 * self.weight[0].numel()
        yield Correction(self, self.weight_correction.data, bias, strength, count)

    def as_stored(self, correction: Tensor) -> Tensor:
        """A correction of the weight as folders hold it."""
        return correction.to(self.stored_as).to(correction.dtype)

    def round_correction(self) -> None:
        """Leave of the correction what folders hold."""
        self.weight_correction.data = self.as_stored(self.weight_correction.data)

    def in_force(self) -> tuple[Tensor, Tensor | None]:
        """The weight and bias in force: the ANN's own, plus the correction unless the network runs as the ANN."""
        if self.folded or current().analog:
            return self.weight, self.bias
        bias = None if self.bias is None or self.bias_correction is None else self.bias + self.bias_correction
        return self.weight + self.weight_correction, bias

    @torch.no_grad()
    def fold(self) -> None:
        """Make the weight in force the layer's only one, in place: neither correction nor the ANN's weight is left."""
        weight, bias = self.in_force()
        self.weight, self.bias = nn.Parameter(weight), None if bias is None else nn.Parameter(bias)
        self.register_parameter("weight_correction", None)
        self.register_parameter("bias_correction", None)
        self.folded = True

    def _adopt(self, layer: LinearMap) -> None:
        """Take over the parameters of the ANN's layer, with no correction yet."""
        self.weight, self.bias = layer.weight, layer.bias
        self.weight_correction = nn.Parameter(torch.zeros_like(layer.weight))
        self.bias_correction = None if layer.bias is None else nn.Parameter(torch.zeros_like(layer.bias))


class CorrectedConv2d(Corrected, nn.Conv2d):
    """A convolution that receives spikes, [S·B, C, H, W]."""

    def __init__(self, conv: nn.Conv2d) -> None:
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
        self._adopt(conv)

    def forward(self, input: Tensor) -> Tensor:
        """Accumulate."""
        return self._conv_forward(input, *self.in_force())


class CorrectedLinear(Corrected, nn.Linear):
    """A linear layer that receives spikes, [S·B, L, C]."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self._adopt(linear)

    def forward(self, input: Tensor) -> Tensor:
        """Accumulate."""
        return F.linear(input, *self.in_force())
