"""Training at an energy: the loss grows by what spikes cost, at a price that is steered until the network spends it.

Let E_b be the share of the ANN's energy that the network spends on image b, counted, with the gradient of
`counted_spikes`, and E* the budget. A step minimises

    loss + λ · mean_b E_b / E*

and then every threshold θ, and the price λ, move by what is spent too much or too little, at all noise levels:

    θ ← θ · (E / E*)^KEEPING,      λ ← λ · (E / E*)^ASCENT,      E = Σ_k w_k · E_k

where E_k is a running mean over images in noise stratum k, and w_k its share of the diffusion timesteps: a batch has,
by chance, more of the noise levels that spend much, and stays so for many steps.

The first keeps the network at its budget, the second is dual ascent: λ comes to rest where steps no longer lead away
from the budget, and then spikes are where they are worth most. Where the loss is the logarithm of the error, and that
grows with the n-th power of what is saved, λ is n.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.diffusion.noise_schedule import noise_schedule
from ann2snn_diffusion.diffusion.noisy_states import any_state
from ann2snn_diffusion.evaluation.cost_tables import cost_table
from ann2snn_diffusion.evaluation.network_layout import layout_of
from ann2snn_diffusion.evaluation.noise_strata import strata_bounds, stratum_of
from ann2snn_diffusion.evaluation.prices import accumulates_by_place, prices_of
from ann2snn_diffusion.spiking.counted_spikes import cost_of_spikes, spike_table
from ann2snn_diffusion.spiking.guidance import is_guided
from ann2snn_diffusion.spiking.modes import listening
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.spec import TrainingSpec

START = 2.0
"""λ at first."""
KEEPING, ASCENT = 0.2, 0.1
REMEMBERED = 0.7
"""Of the running means, at each image."""
LARGEST = 0.5
"""Of ln(E / E*): a network far from its budget comes there in steps."""
COUNTED = 16
"""Images of a batch, at the least, whose spikes are counted; they lie at all noise levels, like the others."""


class EnergyBudget:
    """What spikes cost, and what that weighs in the loss, which every step changes.

    Args:
        unet: the network, on its device.
        scheduler: whose noise levels its states have.
        energy: E*.
        costs: of an operation; see `cost_table`.

    Attributes:
        multiplier: λ.
        weight: λ / E*, what the mean of E_b weighs in the loss; always the same memory, on the network's device.
        by_stratum: E_k, float64 [K], on the CPU; None before the first step.

    Raises:
        SpecError: what stays analog spends E* alone; a network whose spikes have no table, see `counted_spikes`.
        CostTableError: see `cost_table`.
    """

    def __init__(self, unet: SpikingUNet2DModel, scheduler: Any, energy: float, costs: str) -> None:
        require(unet.spec.schedule == "layerwise", "energy", energy, "none beside the synchronous schedule")
        require(
            not is_guided(unet.guidance), "energy", energy, "none beside threshold guidance, which training would undo"
        )
        layout = layout_of(unet, any_state(unet, noise_schedule(scheduler)))
        prices = prices_of(layout, unet, cost_table(costs))
        prices.require_reach(energy)
        self.energy, self.analog_share = energy, prices.analog_share
        self.multiplier, self.bounds = START, strata_bounds(scheduler)
        self.weight = torch.tensor(START / energy, device=unet.device)
        self.by_stratum: Tensor | None = None
        reached, neurons = accumulates_by_place(layout), unet.neurons()
        self.sites = {
            neurons[site]: ((prices.of_accumulate * count).float().to(unet.device), spike_table(neurons[site]))
            for site, count in reached.items()
        }

    def listening(self, unet: SpikingUNet2DModel) -> AbstractContextManager[dict[nn.Module, Tensor]]:
        """What the spikes of each site cost in a forward pass inside the ``with`` block, for images `counted`."""
        return listening(unet, self._cost)

    def _cost(self, neuron: SpikingNeuron, value: Tensor) -> Tensor:
        price, table = self.sites[neuron]
        return cost_of_spikes(neuron, value, price, table, self.counted(len(value)))

    def counted(self, batch_size: int) -> slice:
        """The images of a batch whose spikes are counted."""
        return slice(None, None, max(1, batch_size // COUNTED))

    def spent(self, costs: Mapping[nn.Module, Tensor]) -> Tensor:
        """E_b of a forward pass, for images `counted`, with gradients."""
        return self.analog_share + torch.stack(list(costs.values())).sum(0)

    @torch.no_grad()
    def steer(self, spent: Tensor, diffusion_timesteps: Tensor) -> None:
        """Move thresholds and λ after a step in which images at diffusion timesteps int64 [B] spent E_b, [B]."""
        beyond = math.log(self._mean(spent.double().cpu(), stratum_of(diffusion_timesteps, self.bounds)) / self.energy)
        beyond = min(max(beyond, -LARGEST), LARGEST)
        self.multiplier *= math.exp(ASCENT * beyond)
        self.weight.fill_(self.multiplier / self.energy)
        for neuron in self.sites:
            neuron.threshold.mul_(math.exp(KEEPING * beyond))

    def _mean(self, spent: Tensor, stratum: Tensor) -> float:
        """E, after E_k took in what images spent."""
        widths = torch.tensor(self.bounds).diff().double() / self.bounds[-1]
        known = spent.mean().expand(len(widths)) if self.by_stratum is None else self.by_stratum
        count = stratum.bincount(minlength=len(known))
        found = torch.zeros_like(known).index_add(0, stratum, spent) / count.clamp(min=1)
        self.by_stratum = torch.lerp(found, known, REMEMBERED ** count.double())
        return (widths @ self.by_stratum).item()

    def state_dict(self) -> dict[str, Any]:
        """λ and E_k."""
        return {"multiplier": self.multiplier, "by_stratum": self.by_stratum}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.multiplier, self.by_stratum = state["multiplier"], state["by_stratum"]
        self.weight.fill_(self.multiplier / self.energy)


def budget_of(unet: SpikingUNet2DModel, scheduler: Any, spec: TrainingSpec) -> EnergyBudget | None:
    """The budget that a training has to keep; None: it has none.

    Raises:
        SpecError, CostTableError: see `EnergyBudget`.
    """
    return None if spec.energy is None else EnergyBudget(unet, scheduler, spec.energy, spec.costs)
