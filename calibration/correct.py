"""Closed-form correction of a linear map, from what it receives toward what it should give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LinearMap = nn.Conv2d | nn.Linear
Total = Callable[[Tensor], Tensor]
CHUNK = 2048
COLUMNS = 512
"""Of a Gram matrix, that are computed together, from the diagonal down."""
STRONG = 0.1
"""Ridge from which on float32, in half the time, gives no other correction: λ outweighs what it rounds away."""
SUFFICIENT = 1.5
"""Places for every input of a map, below which a correction cannot be told from chance."""


@dataclass(frozen=True)
class Places:
    """Where outputs are looked at, flat over [N, H', W'] or [N, L], ascending, int64.

    Attributes:
        fit: where a correction is found.
        held_out: of other inputs, where it is judged.
    """

    fit: Tensor
    held_out: Tensor

    @classmethod
    def drawn(cls, inputs: int, positions: int, count: int, generator: torch.Generator) -> Places:
        """``count`` of the outputs of N inputs, of ``positions`` each; all of them, where there are no more.

        Three quarters of the inputs are for finding, the others for judging; a single one is for both.
        """
        split = max(1, inputs * 3 // 4)
        fit = _drawn(split * positions, count * 3 // 4, generator)
        judged = inputs - split
        return cls(fit, split * positions + _drawn(judged * positions, count // 4, generator) if judged else fit)

    @property
    def all(self) -> Tensor:
        """Those of ``fit``, then those of ``held_out``."""
        return torch.cat([self.fit, self.held_out])


def alone(found: Tensor) -> Tensor:
    """The total of one process, which has all inputs."""
    return found


def sufficient(places: int, layer: LinearMap) -> bool:
    """Whether a correction of ``layer`` can be found at so many places."""
    return places >= SUFFICIENT * layer.weight[0].numel()


def _drawn(there: int, count: int, generator: torch.Generator) -> Tensor:
    if there <= count:
        return torch.arange(there)
    return torch.randint(there, (count,), generator=generator).sort().values


def ridge(gram: Tensor, cross: Tensor, strength: float) -> Tensor:
    """Δ [O, F] that minimises Σ ‖r − Δx‖² + λ‖Δ‖² over all rows.

        Δ = (Σ r·xᵀ) (Σ x·xᵀ + λI)⁻¹,    λ = strength · mean diagonal of Σ x·xᵀ

    Args:
        gram: Σ x·xᵀ, [F, F], of which the lower triangle is looked at; overwritten.
        cross: Σ r·xᵀ, [O, F]; r is the residual: what the map should give minus what it gives.
        strength: relative to the mean diagonal, above 0.
    """
    gram.diagonal().add_(strength * gram.diagonal().mean().clamp(min=1e-12))
    return torch.cholesky_solve(cross.T, torch.linalg.cholesky(gram, out=gram)).T


@dataclass
class Moments:
    """Sums over rows of inputs x, a 1 appended for the bias, and residuals r: Σ x·xᵀ and Σ r·xᵀ.

    Of the symmetric Σ x·xᵀ only the lower triangle means anything; its last entry is the number of rows.
    """

    gram: Tensor
    cross: Tensor

    @classmethod
    def none_yet(cls, layer: LinearMap) -> Moments:
        """Of no rows, float64."""
        features = layer.weight[0].numel() + 1
        wide = {"dtype": torch.float64, "device": layer.weight.device}
        return cls(torch.zeros(features, features, **wide), torch.zeros(len(layer.weight), features, **wide))

    def add(self, inputs: Tensor, residuals: Tensor) -> None:
        """Rows more, [R, F + 1] and [R, O]."""
        for first in range(0, len(self.gram), COLUMNS):
            self.gram[first:, first : first + COLUMNS] += inputs[:, first:].T @ inputs[:, first : first + COLUMNS]
        self.cross += residuals.T @ inputs

    def total(self, total: Total) -> Moments:
        """Those of all processes."""
        return Moments(total(self.gram), total(self.cross))

    def solve(self, strength: float) -> Tensor:
        """Δ [O, F + 1], the bias in the last column: weights by ridge on centred sums, the bias carries the means."""
        rows = self.gram[-1, -1].item()
        mean_input, mean_residual = self.gram[-1, :-1] / rows, self.cross[:, -1] / rows
        gram = torch.addr(self.gram[:-1, :-1], mean_input, mean_input, alpha=-rows)
        cross = torch.addr(self.cross[:, :-1], mean_residual, mean_input, alpha=-rows)
        dtype = torch.float32 if strength >= STRONG else torch.float64
        weight = ridge(gram.to(dtype), cross.to(dtype), strength).double()
        return torch.cat([weight, (mean_residual - weight @ mean_input)[:, None]], dim=1)


def correction(
    layer: LinearMap,
    received: Tensor,
    given: Tensor,
    wanted: Tensor,
    places: Places,
    strength: float,
    total: Total = alone,
) -> tuple[Tensor, Tensor] | None:
    """Change of weight and bias that takes a layer's output toward its target on the inputs it really receives.

    None, where it does not help at held-out places; else it is found anew from those too.

    Args:
        layer: a convolution with zero padding and one group, or a linear layer.
        received: its input, [N, C, H, W] or [N, L, C].
        given: its output, [N, O, H', W'] or [N, L, O].
        wanted: its target at all places, [R, O].
        strength: of the ridge, see `ridge`.
        total: the sum over all processes that have a share of the inputs.

    Returns:
        ΔW, shaped as the weight, and Δb [O].
    """
    moments, device = Moments.none_yet(layer), received.device
    fit, held_out = places.fit.to(device), places.held_out.to(device)
    for inputs, residuals in _rows(layer, received, given, wanted[: len(fit)], fit):
        moments.add(inputs, residuals)
    delta = moments.total(total).solve(strength).to(received)
    gain = torch.zeros((), dtype=torch.float64, device=device)
    for inputs, residuals in _rows(layer, received, given, wanted[len(fit) :], held_out):
        left = residuals - inputs @ delta.T
        gain += residuals.square().sum() - left.square().sum()
        moments.add(inputs, residuals)
    if total(gain) <= 0:
        return None
    delta = moments.total(total).solve(strength)
    return delta[:, :-1].reshape(layer.weight.shape).to(layer.weight), delta[:, -1].to(layer.weight)


def apply_delta(layer: LinearMap, received: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Output of ``layer`` had it only the weight and bias given."""
    if isinstance(layer, nn.Linear):
        return F.linear(received, weight, bias)
    return F.conv2d(received, weight, bias, layer.stride, layer.padding, layer.dilation)


def outputs_at(layer: LinearMap, given: Tensor, places: Tensor) -> Tensor:
    """Outputs [N, O, H', W'] or [N, L, O] at flat places, [R, O]."""
    if isinstance(layer, nn.Linear):
        return given.flatten(0, -2)[places]
    row, down, across = _unravelled(given, places)
    return given[row, :, down, across]


def _rows(
    layer: LinearMap, received: Tensor, given: Tensor, wanted: Tensor, places: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs, a 1 appended, [R, F + 1] and residuals [R, O] at places, a few of them at a time."""
    for chunk, target in zip(places.split(CHUNK), wanted.split(CHUNK), strict=True):
        inputs = _inputs_at(layer, received, given, chunk)
        yield F.pad(inputs, (0, 1), value=1.0), target - outputs_at(layer, given, chunk)


def _inputs_at(layer: LinearMap, received: Tensor, given: Tensor, places: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return received.flatten(0, -2)[places]
    row, down, across = _unravelled(given, places)
    first, last = int(row[0]), int(row[-1])
    pad_down, pad_across = layer.padding
    some = F.pad(received[first : last + 1], (pad_across, pad_across, pad_down, pad_down))  # pyright: ignore[reportArgumentType]
    return patches(layer, some, row - first, down, across)


def _unravelled(given: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    height, width = given.shape[-2:]
    return places // (height * width), places // width % height, places % width


def patches(conv: nn.Conv2d, padded: Tensor, row: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """What an output position (row, down, across), each [R], sees of the padded input: [R, C · kh · kw]."""
    downs = down[:, None] * conv.stride[0] + torch.arange(conv.kernel_size[0], device=down.device) * conv.dilation[0]
    acrosses = (
        across[:, None] * conv.stride[1] + torch.arange(conv.kernel_size[1], device=down.device) * conv.dilation[1]
    )
    seen = padded[row[:, None, None], :, downs[:, :, None], acrosses[:, None, :]]
    return seen.permute(0, 3, 1, 2).flatten(1)
