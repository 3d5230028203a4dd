"""EvaluationSpec: what an evaluation draws and measures."""

from __future__ import annotations

from dataclasses import dataclass

from ann2snn_diffusion.common.specs import check, setting

COMPARABLE_COUNT = 10_000
"""Images from which on FID compares with papers."""
BUNDLED_COUNT = 2000
COUNT_WITHOUT_DATA = 64


@dataclass(frozen=True)
class EvaluationSpec:
    """What is measured, and with which draws.

    Raises:
        SpecError: a field out of range.
    """

    count: int = setting(
        0,
        f"Images that each network draws; 0: {BUNDLED_COUNT:,} for the bundled model, {COMPARABLE_COUNT:,} with "
        f"`data`, {COUNT_WITHOUT_DATA} where there are no real images to compare with.",
        at_least=0,
    )
    scheduler: str = setting(
        "ddim",
        "Sampler: ddpm, ddim, pndm, unipcmultistep and the like. Without a β schedule ddim stands for the model's own: "
        "heunve (or scoresdeve), cmstochasticiterative.",
        in_words="a name such as ddim",
    )
    steps: int = setting(25, "Denoising steps.", at_least=1)
    seed: int = setting(0, "Image i is seeded with seed + i, for both networks.", at_least=0, at_most=2**63 - 1)
    batch_size: int = setting(64, "Images that are drawn at a time, and a shard.", at_least=1)
    class_labels: tuple[int, ...] = setting(
        (), "Class labels of the images, in turn; none: every image draws its own, as often as the real images have "
        "it, or uniformly where these carry no labels.", at_least=0, in_words="class labels such as 0, 1, 2",
    )  # fmt: skip
    states_per_stratum: int = setting(
        8, "Noisy images in each noise stratum that ε errors are measured on.", at_least=1
    )
    bootstrap: int = setting(100, "Resamples behind every interval.", at_least=2)

    def __post_init__(self) -> None:
        check(self)

    def drawn(self, bundled: bool, data: bool) -> int:
        """Images that each network draws: ``count``, or what fits the real images.

        Args:
            bundled: they are the statistics that ship with the bundled model.
            data: they are others.
        """
        return self.count or (BUNDLED_COUNT if bundled else COMPARABLE_COUNT if data else COUNT_WITHOUT_DATA)
