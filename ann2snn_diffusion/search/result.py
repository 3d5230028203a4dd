"""What a threshold search found: all that was tried, the winner, the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ann2snn_diffusion.search.journal import Trial
from ann2snn_diffusion.search.verdict import Verdict
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel


@dataclass(frozen=True)
class Search:
    """All that was tried, and what came of it."""

    unet: SpikingUNet2DModel
    """The network with `guidance` set."""
    objective: str
    groups: tuple[str, ...]
    trials: tuple[Trial, ...]
    """In their order; the first is factor 1."""
    winner: Trial
    verdict: Verdict | None
    """None where nothing tried was better than factor 1."""
    identity: dict[str, Any]
    """All that values depend on."""

    @property
    def guidance(self) -> dict[str, float]:
        """The factors that are stored."""
        return self.stored.guidance

    @property
    def stored(self) -> Trial:
        """The winner where the verdict says that it wins, else factor 1."""
        return stored(self.trials[0], self.winner, self.verdict)

    def relative_value(self, trial: Trial) -> float:
        """The objective over that at factor 1, which is 1 even where a KID is negative."""
        base = self.trials[0].value
        return 1 + (trial.value - base) / abs(base)

    def relative_spikes(self, trial: Trial) -> float:
        """Spikes over those at factor 1."""
        return trial.spikes / max(self.trials[0].spikes, 1)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the network."""
        return {
            "objective": self.objective,
            "groups": list(self.groups),
            "identity": self.identity,
            "winner": self.winner.to_json(),
            "verdict": None if self.verdict is None else self.verdict.to_dict(),
            "stored": self.guidance,
            "evaluations": [trial.to_json() for trial in self.trials],
        }


def stored(base: Trial, winner: Trial, verdict: Verdict | None) -> Trial:
    """The winner where the verdict says that it wins, else factor 1 (``base``)."""
    return winner if verdict is not None and verdict.wins else base
