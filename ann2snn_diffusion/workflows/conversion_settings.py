"""What a conversion is asked for, with nothing left open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from diffusers import UNet2DModel

from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.diffusion.memory import require_memory_of_passes
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.workflows.calibration_states import state_count
from ann2snn_diffusion.workflows.fitness import on_schedule

MOST_DOUBLED = 5
"""Time steps of which all sites are doubled unasked: 2·5 digits are more than any site needs."""


@dataclass(frozen=True)
class Settings:
    """What spikes and how, and how thresholds and corrections are found."""

    spec: SpikeSpec
    calibration: CalibrationSpec

    @classmethod
    def of(
        cls,
        spec: SpikeSpec | None,
        calibration: CalibrationSpec | None,
        unet: UNet2DModel,
        scheduler: Any,
        processes: int = 1,
    ) -> Settings:
        """Fill in the energy, what makes spikes worth it, and the states, and move noise segments to a scheduler's own.

        Args:
            processes: that share the states.

        Raises:
            SpecError: an energy beside a spec that it cannot be met with; more states than memory holds, or too few
                for all processes.
        """
        spec, calibration = on_schedule(spec or SpikeSpec(), scheduler), calibration or CalibrationSpec()
        energy = calibration.budget(spec)
        if energy:
            spec = _frugal(spec)
        segments = len(spec.segments)
        states = state_count(calibration, unet, segments, processes)
        each = f"{processes * segments} or more: one of each noise segment for each of {processes} processes"
        require(processes == 1 or states >= processes * segments, "states", states, each)
        require_memory_of_passes("states", -(-states // processes), unet)
        return cls(replace(spec, dead_zone=bool(spec.dead_zone)), replace(calibration, energy=energy, states=states))


def _frugal(spec: SpikeSpec) -> SpikeSpec:
    """``spec`` with what makes spikes worth their energy."""
    if not spec.doubled and spec.time_steps <= MOST_DOUBLED:
        spec = replace(spec, doubled=("*",))  # digits that nobody uses cost nothing
    if spec.dead_zone is None:
        spec = replace(spec, dead_zone=spec.schedule == "layerwise")
    return spec
