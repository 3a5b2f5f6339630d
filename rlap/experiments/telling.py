"""What a page says of one run: where it comes from, what was found, and who won."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from rlap.corruption.corrupted import Corrupted
from rlap.data import Dataset
from rlap.experiments.checked import Parameters
from rlap.experiments.ground import cleaner
from rlap.experiments.records import code_digest, data_section
from rlap.metrics import Z95, told_by, wilson
from rlap.partition import Partition


def about(run: Parameters, data: Dataset, noise: Corrupted) -> dict[str, object]:
    """What is stamped on every figure of a run, as in its record."""
    return {
        "tier": run.tier,
        "seed": run.seed,
        "data": data_section(data),
        "noise": {
            "kind": run.kind,
            "rate": run.rate,
            "level": getattr(run, "noise_level", noise.level),
            "realised_rate": noise.realised_rate,
        },
        "identity": {"code": code_digest()},
    }


def of_partition(parts: Partition, truth: Tensor, labels: Tensor) -> str:
    """What a partition found, by the ``truth`` (N,) of what is corrupted."""
    kept, truth = parts.high_quality.cpu(), truth.cpu()
    noise, classes = (told_by(known, kept) for known in (truth, labels))
    said = (
        f"{int(kept.sum()):,} of {len(kept):,} samples are kept, "
        f"{(~truth[kept]).double().mean():.0%} of them clean. On which side a sample "
        f"falls is told to {noise:.0%} by the noise and to {classes:.0%} by its class."
    )
    if not cleaner(parts, truth):
        said += " The part that is kept is the noisier one."
    return said


def beats_guessing(accuracy: float, n: int, classes: int) -> bool:
    """Whether an accuracy on n samples is surely (95 %) above that of guessing."""
    return wilson(round(accuracy * n), n)[0] > 1 / classes


def of_arms(
    arms: Mapping[str, Mapping], n: int, classes: int, *, arm: str = "F-FT"
) -> str:
    """How ``arm`` did against the others on n test samples."""
    first, own = arms["initial"]["accuracy"], arms[arm]["accuracy"]
    if not beats_guessing(max(a["accuracy"] for a in arms.values()), n, classes):
        return (
            f"The first network answers {first:.1%} right, and no arm is surely above "
            f"guessing ({1 / classes:.0%}): too little training to compare them."
        )
    others = [name for name in ("initial", "continue", "retrain") if name in arms]
    gaps = (
        f"{100 * (own - arms[name]['accuracy']):+.1f} points against {name}"
        for name in others
    )
    chance = 100 * Z95 * math.sqrt(2 * own * (1 - own) / n)
    return (
        f"{arm} answers {own:.1%} right: {', '.join(gaps)}. On {n:,} test samples a "
        f"difference of up to {chance:.1f} points may be chance."
    )
