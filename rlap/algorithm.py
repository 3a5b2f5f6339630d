"""Algorithm 1 of the paper in one call, on anybody's model and data.

1. Score every sample by what each unit of a layer contributes to it: ``attribute``.
2. Divide the samples in two by their scores: ``partition``.
3. Find the units that tell the two parts apart, and silence them: ``sensitivity``,
   ``top_units`` and ``prune``.
4. Train on with the good part, the pruned units held at zero: ``finetune``.

Each stage is a file of that name. What cannot work is told before the first of them
(``preflight``). ``examples/rlap_in_80_lines.py`` is the same without guard or option.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rlap.attribution import NEEDS_LABELS, Scan, scan
from rlap.checks import check_model
from rlap.data.base import Split
from rlap.finetuning import finetune
from rlap.network.copying import copy_of
from rlap.network.layers import get_layer, model_device
from rlap.network.precision import own_precision
from rlap.partition import (
    BEST,
    SMALLEST_SHARE,
    DegeneratePartitionWarning,
    Partition,
    partition,
    sample_scores,
    share_at_bounds,
)
from rlap.preflight import as_split, preflight
from rlap.pruning import Mask, prune
from rlap.sensitivity import sensitivity, top_units
from rlap.training.loop import History
from rlap.training.recipe import Recipe
from rlap.wording import in_brief

EXPECTED = 5  # kept samples of a class by chance, below which none need be missed


@dataclass(frozen=True)
class Result:
    """What ``robustify`` made.

    Attributes:
        model: the pruned and fine-tuned copy, in eval mode.
        partition: who is high quality, with diagnostics.
        mask: the pruned units; it fits ``model``.
        histories: "finetune" -> what happened in each epoch.
        seconds: of each stage by name, and their "total".
        sensitivity: (d,), one score a unit; larger goes first.

    >>> result = rlap.robustify(model, data, layer="fc", amount=2, recipe=short)
    >>> result.mask.holds(result.model), sorted(result.histories)
    (True, ['finetune'])
    """

    model: nn.Module
    partition: Partition
    mask: Mask
    histories: dict[str, History]
    seconds: dict[str, float]
    sensitivity: Tensor

    __repr__ = in_brief


@own_precision()
def robustify(
    model: nn.Module,
    inputs: Tensor | Split,
    labels: Tensor | None = None,
    *,
    layer: str,
    amount: int | float = 0.15,
    scope: str = "full",
    method: str = "gradient_x_activation",
    rule: str = "gmm",
    start: str = BEST,
    quality: Tensor | None = None,
    covariance_type: str = "full",
    threshold: float = 0.5,
    high_quality: Tensor | None = None,
    criterion: str = "regression",
    norm: str | None = "auto",
    recipe: Recipe | None = None,
    batchnorm: str | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    seed: int = 0,
    test: Split | None = None,
    progress: bool | str = False,
) -> Result:
    """Partition the data, prune noise-sensitive units, fine-tune on the good part.

    The caller's model is left as it was; the result holds a copy.

    Args:
        model: a classifier trained on the data, (B, ...) -> logits (B, C).
        inputs, labels: (N, ...) and (N,), partly corrupted; nobody needs to know which.
            Or a ``Split``, without labels.
        layer: dotted name of a late nn.Linear or convolution.
        amount: units to prune, as a count or as a share of the layer; 0 for none.
        scope: "full" (F-FT) or "head" (L-FT: ``layer`` and what follows).
        method: attribution, see ``attribute``.
        rule: of the partition. "gmm", the paper's, clusters the attribution and never
            sees a label: it is for corrupted inputs. Where labels may be wrong, take
            "loss" or "margin". "confidence" and "trivial" look at neither.
        start: of the mixture's fit, see ``partition``: "best" of both by default, where
            the paper's code has "kmeans".
        quality: (N,), larger is better, names the good cluster; by default that of
            "gmm" is named by the model's confidence, which does not look at labels, and
            that of any other rule by its score.
        covariance_type, threshold: of the partition, see ``partition``.
        high_quality: (N,) bool, who is good, if you know; no partition is made then.
        criterion: of the units, see ``sensitivity``.
        norm: dotted name of the BatchNorm that follows ``layer``, if any, whose
            channels are pruned, too; found by itself where the network can be traced
            (``batchnorm`` of ``prune``).
        recipe, batchnorm, test: of the fine-tuning, see ``finetune``.
        batch_size: of the pass that attributes; it does not change the result.

    Raises ``KeyError``/``TypeError`` for an unusable layer, ``ValueError`` for unusable
    data, settings, outputs that are no logits, or a partition with nobody on one side;
    ``RuntimeError`` inside torch.inference_mode. Source: paper Algorithm 1.

    >>> result = rlap.robustify(model, data, layer="fc", amount=2, recipe=short)
    >>> len(result.mask.units), result.model is model
    (2, False)
    """
    split = as_split(inputs, labels)
    new = copy_of(check_model(model)).to(device or model_device(model))
    preflight(
        new, split, layer=layer, amount=amount, scope=scope, method=method, rule=rule,
        start=start, quality=quality, covariance_type=covariance_type,
        threshold=threshold, high_quality=high_quality, criterion=criterion, norm=norm,
        recipe=recipe, batchnorm=batchnorm, batch_size=batch_size, test=test, seed=seed,
    )  # fmt: skip
    watch = Stopwatch()
    with watch("attribution"):
        given = split.labels if method in NEEDS_LABELS else None
        seen = scan(
            new, split.inputs, layer=layer, method=method, labels=given,
            batch_size=batch_size,
        )  # fmt: skip
    with watch("partition"):
        if high_quality is not None:
            parts = of_your_own(high_quality, split.labels)
        else:
            parts = partition_by(
                rule, seen, split, start=start, quality=quality, seed=seed,
                covariance_type=covariance_type, threshold=threshold,
            )  # fmt: skip
    with watch("sensitivity"):
        scores = sensitivity(
            seen.activations, parts.low_quality, criterion=criterion,
            weight=get_layer(new, layer).weight, seed=seed,
        )  # fmt: skip
    with watch("pruning"):
        mask = prune(new, layer=layer, units=top_units(scores, amount), batchnorm=norm)
    with watch("finetuning"):
        history = finetune(
            new, split.subset(parts.high_quality), scope=scope, mask=mask,
            recipe=recipe, batchnorm=batchnorm, seed=seed, test=test,
            progress=progress,
        )  # fmt: skip
    watch["total"] = sum(watch.values())
    return Result(new, parts, mask, {"finetune": history}, dict(watch), scores)


def partition_by(
    rule: str,
    seen: Scan,
    split: Split,
    *,
    start: str = "kmeans",
    quality: Tensor | None = None,
    seed: int = 0,
    **options: Any,
) -> Partition:
    """Apply a partition rule by name to what ``scan`` saw of ``split`` (N samples);
    ``options`` are further ones of ``partition``."""
    if rule == "trivial":
        found = share_at_bounds(split.inputs)
    else:
        scores = sample_scores(seen.logits, split.labels)
        if rule in scores:
            found = scores[rule]
        else:  # "gmm"
            found = seen.attribution
            quality = scores["confidence"] if quality is None else quality
    options |= {"start": start, "quality": quality, "seed": seed}
    parts = partition(found, rule=rule, **options)
    warn_of_lost_classes(parts, split.labels)
    return parts


def of_your_own(high_quality: Tensor, labels: Tensor) -> Partition:
    """A partition of samples that somebody else has sorted, (N,) bool."""
    high = high_quality.to(labels.device)
    about = {"rule": "your own", "high_quality": int(high.sum())}
    parts = Partition(high, high.float(), about | {"low_quality": int((~high).sum())})
    warn_of_lost_classes(parts, labels)
    return parts


def warn_of_lost_classes(parts: Partition, labels: Tensor) -> None:
    """Warn of classes (N,) of which hardly a sample was kept, though by chance many
    would have been: the two groups are then classes rather than good and bad."""
    high = parts.high_quality.to(labels.device)
    share = high.float().mean().item()
    for label in labels.unique().tolist():
        own = high[labels == label]
        kept, n = int(own.sum()), len(own)
        if n * share >= EXPECTED and kept < SMALLEST_SHARE * n:
            message = (
                f"{kept} of {n} samples of class {label} are among the high-quality "
                "ones: the two groups may be classes, not good and bad samples"
            )
            parts.diagnostics.setdefault("warnings", []).append(message)
            warnings.warn(message, DegeneratePartitionWarning, stacklevel=3)


class Stopwatch(dict):
    """Seconds of named stages: ``with watch("partition"): ...``."""

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # count the work that the stage has queued
        self[stage] = self.get(stage, 0.0) + time.perf_counter() - began
