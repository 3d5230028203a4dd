"""What one synapse of ANN and SNN was counted to do, per image and forward pass."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SynapseReport:
    """One layer with weights, one attention product, or the noisy image's way to the output.

    Counts of the SNN are means over all diffusion timesteps, each counting the same.
    """

    name: str
    driven_by: str
    """``spikes`` or ``analog``."""
    operations: int
    """Multiply-accumulates if all inputs are dense, padding included."""
    ann_multiply_accumulates: int
    """The same, 0 where the ANN has no such synapse."""
    ann_effective: float | None
    """Those of the ANN in int8 that are not by zero; see `zero_activations`."""
    multiply_accumulates: int
    """Of the SNN: what stays analog."""
    accumulates: float
    """Of the SNN: each spike times the synapses that it reaches."""
    spikes: float
    """That it receives; of neurons that drive several synapses, a part each."""
    neurons: float
    """Membranes before it; likewise."""
    membrane_updates: float
    """Neurons times firing steps."""
    charges: float
    """Multiply-accumulates that charge the neurons."""
    offset_multiply_accumulates: int
    """Of the offsets and units of attention products; see `element_wise`."""
    offset_accumulates: int
    """Of the offsets' maps."""
    inputs: int
    weights: int
    outputs: int

    @property
    def spikes_per_neuron(self) -> float:
        """Spikes of either sign of one neuron in one forward pass; 0 where the synapse stays analog."""
        return self.spikes / self.neurons if self.neurons else 0.0
