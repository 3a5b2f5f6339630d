"""What a record says of a run's partition: what it found, and what finds it as well."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

import rlap
from rlap.experiments.ground import LAYER, Ground, cleaner, divide
from rlap.metrics import auroc, detection, told_by
from rlap.partition import STARTS


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
