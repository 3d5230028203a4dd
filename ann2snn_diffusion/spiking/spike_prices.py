"""What the spikes of each site cost and what they are worth, so that a budget is spent where ε feels it.

Every channel c of a site, in noise segment k, takes the scale and offset of least

    J = I_kc · MSE_kc + μ · p · spikes_kc,    I_kc = w_k · G_kc / ‖ε‖²_k + floor / V_k

where G is the site's gain (`sensitivity`), w_k what an error of ε is worth in segment k, V_k the power of the site's
values, and p the energy of one spike in each of a channel's positions, as a share of the ANN's. The floor keeps sites
that ε hardly feels from falling silent, where errors are no longer small and the linear picture breaks. μ is the one
knob: solved for the ANN's own values, the sites tell the energy at any μ without another pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from scipy.optimize import root_scalar
from torch import Tensor

from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.sensitivity import Sensitivity
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from calibration.levels import Levels
from calibration.observe import stacked
from calibration.rate_distortion import Sample, least_cost, represent

FLOOR = 3e-5
"""Of the importance: relative to the power of a site's values."""
CHEAPEST = 1e-9
"""μ at which spikes cost next to nothing."""
USUAL = 3e-4
"""μ of an energy that many ask for; others are looked for from there in strides, along which the energy falls nearly
in a line."""
STRIDE = math.log(100)
PRECISION = 0.01
"""Of log μ; the energy is an order of magnitude less sensitive."""


@dataclass(frozen=True)
class Prices:
    """What the spikes of each site cost.

    Attributes:
        of_spike: by site, p: one spike in each position of a channel, as a share of the ANN's energy.
        of_accumulate: one accumulate, likewise.
        analog_share: what is no spike, as a share of the ANN's energy.
    """

    of_spike: Mapping[str, float]
    of_accumulate: float
    analog_share: float

    def require_reach(self, energy: float) -> None:
        """Refuse an energy that what stays analog spends alone.

        Raises:
            SpecError: with that share.
        """
        least = f"more than {self.analog_share:.4f}, which what stays analog spends alone: conv_in, the time embedding"
        require(energy > self.analog_share, "energy", energy, f"{least} and the like")


@dataclass(frozen=True)
class Plan:
    """All that thresholds at any energy are solved from.

    Attributes:
        widths: share of the diffusion timesteps in each noise segment, [K].
        importance: by site, I, [K, C].
        values: by site, what passes in the ANN in W of its channels; what scale and offset are fitted to.
        judged: likewise, [K, N, W], what tells how much they spend: of other states, where calibration sees but few.
        watched: by site, which channels these are, int64 [W].
        levels: by site, with the spikes of each level.
    """

    prices: Prices
    widths: Tensor
    importance: dict[str, Tensor]
    values: Mapping[str, Sample]
    judged: Mapping[str, Tensor]
    watched: Mapping[str, Tensor]
    levels: dict[str, Levels]

    def energy_at(self, multiplier: float) -> float:
        """Share of the ANN's energy at μ, were the values that arrive the ANN's."""
        spent = self.prices.analog_share
        for name, price in self.prices.of_spike.items():
            values, levels, importance = self.values[name], self.levels[name], self.importance[name]
            scale, offset = least_cost(values, importance[:, self.watched[name]], multiplier * price, levels)
            _, spikes = represent(self.judged[name], scale, offset, levels)
            spent += price * importance.shape[1] * (self.widths.to(spikes) @ spikes).mean().item()
        return spent

    @cached_property
    def most(self) -> float:
        """Energy where spikes cost next to nothing: what all digits spend."""
        return self.energy_at(CHEAPEST)

    def multiplier(self, energy: float) -> float:
        """The μ at which the network spends ``energy``, a share of the ANN's; the least one where nothing spends it."""
        beyond = cache(lambda log: self.energy_at(math.exp(log)) - energy)
        least = dearest = math.log(USUAL)
        while beyond(least) < 0:
            dearest, least = least, least - STRIDE
            if least < math.log(CHEAPEST):
                return CHEAPEST
        while beyond(dearest) > 0:
            least, dearest = dearest, dearest + STRIDE
        if least == dearest:
            return USUAL
        return math.exp(root_scalar(beyond, bracket=(least, dearest), xtol=PRECISION).root)

    def solve(self, multiplier: float, site: str, samples: list[Sample]) -> tuple[Tensor, Tensor]:
        """Scale and offset, [K, C], of a site from what arrived there in each noise segment."""
        price = multiplier * self.prices.of_spike[site]
        return least_cost(stacked(samples), self.importance[site], price, self.levels[site])


def plan_of(
    unet: SpikingUNet2DModel,
    sensitivity: Sensitivity,
    judged: Mapping[str, Tensor],
    prices: Prices,
    widths: Tensor,
    worth: Tensor,
) -> Plan:
    """The plan for a network.

    Args:
        judged: see `Plan`.
        widths: share of the diffusion timesteps in each noise segment, [K].
        worth: w, what an error of ε in each noise segment counts, [K].
    """
    importance = {}
    for name, gain in sensitivity.gain.items():
        power = gain.shape[1] * sensitivity.values[name].rows.var(1, unbiased=False).mean(1, keepdim=True)
        importance[name] = (worth / sensitivity.power).to(gain)[:, None] * gain + FLOOR / power.clamp(min=1e-12)
    levels = {name: levels_of(neuron) for name, neuron in unet.neurons().items()}
    return Plan(prices, widths, importance, sensitivity.values, judged, sensitivity.watched, levels)


def levels_of(neuron: SpikingNeuron) -> Levels:
    """The levels of a neuron, and the spikes that each takes."""
    lowest, highest = neuron.level_range
    whole = torch.arange(lowest, highest + 1, dtype=torch.float32, device=neuron.threshold.device)
    return Levels(lowest, neuron.spikes_of_levels(whole), neuron.table)
