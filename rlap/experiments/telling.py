"""What one run has to tell: in numbers, for its record, and in words, for its page."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

import rlap
from rlap.corruption.corrupted import Corrupted
from rlap.data import Dataset
from rlap.experiments.checked import Parameters
from rlap.experiments.ground import LAYER, Ground, cleaner, divide
from rlap.experiments.records import code_digest, data_section
from rlap.metrics import Z95, auroc, detection, told_by, wilson
from rlap.partition import STARTS, Partition
from rlap.wording import fixed, per_cent


def area(score: Tensor, truth: Tensor) -> list[float] | list[None]:
    """``auroc`` of a score (N,) for what is corrupted, with its interval: [value, low,
    high]; three times None where all samples are clean, or all corrupted."""
    if truth.all() or not truth.any():
        return [None, None, None]
    found = auroc(score, truth)
    return [found.value, found.low, found.high]


def partition_quality(ground: Ground) -> dict[str, object]:
    """What the partition found, and how well simpler scores find the noise."""
    parts, truth, scores = ground.parts, ground.truth, ground.scores
    suspect = {
        "partition": 1 - parts.posterior,
        "loss": scores["loss"],
        "low margin": -scores["margin"],
        "low confidence": -scores["confidence"],
        "low total attribution": -ground.seen.attribution.sum(1),
        "values at 0 or 1": scores["bounds"],
    }
    return {
        "detection": detection(parts.posterior, parts.high_quality, truth),
        "diagnostics": parts.diagnostics,
        "auroc": {name: area(score, truth) for name, score in suspect.items()},
        "oriented_right": cleaner(parts, truth),
        "starts": {start: found_from(ground, start) for start in STARTS},
    }


def found_from(ground: Ground, start: str) -> dict[str, object]:
    """What a fit of the mixture from ``start`` finds: the noise or the classes, and how
    well it fits. No arm sees it but from the start that the protocol takes."""
    parts, settings = ground.parts, ground.plan
    if start != settings.start:  # else it is fitted already
        shown = (ground.seen.attribution, ground.scores["confidence"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                parts = divide(settings, *shown, ground.run.seed, start)
            except ValueError as error:  # everybody on one side
                return {"error": str(error)}
    known = {"noise": ground.truth, "class": ground.data.train.labels}
    found = area(1 - parts.posterior, ground.truth)[0]
    return {
        "log_likelihood": parts.diagnostics["log_likelihood"],
        "auroc": None if found is None else max(found, 1 - found),
        "told_by": {k: told_by(v, parts.high_quality) for k, v in known.items()},
    }


def identity_difference(net: nn.Module, inputs: Tensor) -> float:
    """Largest difference between the paper's attribution of ``inputs`` (N, ...) and the
    bare activation, both standardised by unit: what the gradient adds to the partition.
    """
    features = (
        rlap.attribute(net, inputs, layer=LAYER, method=method, fast=False).double()
        for method in ("gradient_x_activation", "activation")
    )
    # double, and 0 where a unit never moves: rounding would be magnified
    paper, plain = ((x - x.mean(0)) / x.std(0).clamp_min(1e-12) for x in features)
    return torch.max((paper - plain).abs()).item()


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
    clean = per_cent((~truth[kept]).double().mean().item())
    said = (
        f"{int(kept.sum()):,} of {len(kept):,} samples are kept, {clean} of them "
        f"clean. On which side a sample falls is told to {per_cent(noise)} by the "
        f"noise and to {per_cent(classes)} by its class."
    )
    if not cleaner(parts, truth):
        said += " The part that is kept is the noisier one."
    return said


def beats_guessing(accuracy: float, n: int, classes: int) -> bool:
    """Whether an accuracy on n samples is surely (95 %) above that of guessing."""
    return wilson(round(accuracy * n), n)[0] > 1 / classes


def by_chance(one: float, other: float, n: int) -> float:
    """Points by which these two shares of n samples may differ by chance (95 %): that
    of both together, with a sample more of either kind in each, for all of a few right
    is no proof that all are. Source: Agresti and Caffo (2000).

    >>> round(by_chance(0.5, 0.5, 200), 1), round(by_chance(1, 1, 20), 1)
    (9.8, 12.3)
    """
    share = (n * (one + other) + 2) / (2 * n + 4)
    return 100 * Z95 * math.sqrt(2 * share * (1 - share) / (n + 2))


def learned(arms: Mapping[str, Mapping], n: int, classes: int) -> bool:
    """Whether any arm surely beats guessing on n test samples: else their accuracies
    are no result."""
    return any(beats_guessing(arm["accuracy"], n, classes) for arm in arms.values())


def of_arms(
    arms: Mapping[str, Mapping], n: int, classes: int, *, arm: str = "F-FT"
) -> str:
    """How ``arm`` did against the others on n test samples."""
    first, own = arms["initial"]["accuracy"], arms[arm]["accuracy"]
    if not learned(arms, n, classes):
        return (
            f"The first network answers {per_cent(first, 1)} right, and no arm is "
            f"surely above guessing ({per_cent(1 / classes)}): too little training to "
            f"compare them."
        )
    others = [name for name in ("initial", "continue", "retrain") if name in arms]
    gaps = (
        f"{fixed(100 * (own - arms[name]['accuracy']), 1, sign=True)} points "
        f"against {name}"
        for name in others
    )
    chance = max(by_chance(own, arms[name]["accuracy"], n) for name in others)
    return (
        f"{arm} answers {per_cent(own, 1)} right: {', '.join(gaps)}. On {n:,} test "
        f"samples a difference of up to {chance:.1f} points may be chance."
    )
