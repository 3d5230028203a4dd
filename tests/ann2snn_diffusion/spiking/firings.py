"""Ways of firing that tests need."""

from torch import Tensor

from ann2snn_diffusion.spiking.coding import step_weights
from ann2snn_diffusion.spiking.conditions import conditions
from ann2snn_diffusion.spiking.firing import Firing
from ann2snn_diffusion.spiking.surrogate import Surrogate


def early(weights: tuple[int, ...], guidance: float | Tensor, signed: bool, surrogate: Surrogate) -> Firing:
    """Firing from W_t where unsigned, from ½·W_t where signed."""
    return Firing(
        weights, guidance, signed, surrogate, {weight: weight / 2 if signed else weight for weight in weights}
    )


def radix(steps: int, *, sparse: bool = True, dead_zone: bool = False, guidance: float = 1.0) -> Firing:
    """Signed radix spikes."""
    weights = step_weights("radix", steps)
    found = conditions(weights, "radix", signed=True, sparse=sparse, dead_zone=dead_zone)
    return Firing(weights, guidance, True, "rectangle", found)
