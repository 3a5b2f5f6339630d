"""What cannot work is told at once, and not after minutes of attribution.

What ``robustify`` checks before it starts stands here: first what can be read off the
arguments, then a rehearsal on a few samples and a scrap copy: attribution, pruning of
some units, an epoch of fine-tuning. Partition and sensitivity need all samples; what
they alone can find out, such as a partition with nobody on one side, they raise.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor, nn

from rlap.attribution import METHODS, NEEDS_LABELS, scan
from rlap.checks import (
    check_count,
    check_gradients,
    check_labels,
    check_logit_values,
    check_mask,
    check_one_of,
    check_rate,
    check_seed,
    check_two_classes,
)
from rlap.data.base import Split, check_split
from rlap.finetuning import FULL_RECIPE, SCOPES, finetune
from rlap.mixture import COVARIANCES
from rlap.network.copying import copy_of
from rlap.partition import BEST, RULES, STARTS, check_quality
from rlap.pruning import prune
from rlap.sensitivity import CRITERIA, top_units
from rlap.training.recipe import Recipe, check_recipe

REHEARSED = 4  # samples; a partition needs as many


def as_split(inputs: Tensor | Split, labels: Tensor | None) -> Split:
    """The data as a ``Split``; ``TypeError`` where labels are missing or twice,
    ``ValueError`` where the noise of the inputs is drawn at every access."""
    if isinstance(inputs, Split):
        if labels is not None:
            raise TypeError("a Split has its labels: give no others")
        inputs.fixed_inputs()
        return inputs
    if labels is None and isinstance(inputs, Tensor):
        raise TypeError("labels are missing: give a tensor (N,) of class numbers")
    return Split(inputs, labels)


def preflight(
    model: nn.Module,
    split: Split,
    *,
    layer: str,
    amount: int | float,
    scope: str,
    method: str,
    rule: str,
    start: str,
    quality: Tensor | None,
    covariance_type: str,
    threshold: float,
    high_quality: Tensor | None,
    criterion: str,
    norm: str | None,
    recipe: Recipe | None,
    batchnorm: str | None,
    batch_size: int | None,
    test: Split | None,
    seed: int,
) -> None:
    """Raise what ``robustify`` would raise for these arguments; change nothing."""
    check_gradients()
    check_seed(seed)
    for value, known, name in (
        (scope, SCOPES, "scope"),
        (method, METHODS, "attribution"),
        (rule, RULES, "rule"),
        (start, (*STARTS, BEST), "start"),
        (criterion, CRITERIA, "criterion"),
        (covariance_type, COVARIANCES, "covariance_type"),
    ):
        check_one_of(value, known, name)
    if batch_size is not None:
        check_count(batch_size, "batch_size")
    check_recipe(recipe)
    check_two_classes(split.labels)
    check_quality(quality, len(split))
    check_rate(threshold, "threshold")
    if high_quality is not None:
        high = check_mask(high_quality, len(split), "high_quality")
        if high.all() or not high.any():
            raise ValueError("high_quality must have samples on both sides")
    few = split.subset(range(min(REHEARSED, len(split))))
    trial = copy_of(model)
    labels = few.labels if method in NEEDS_LABELS else None
    seen = scan(trial, few.inputs, layer=layer, method=method, labels=labels)
    check_logit_values(seen.logits)
    check_labels(split.labels, len(split), seen.logits.shape[1])
    if test is not None:
        check_split(test, "test")
        check_labels(test.labels, len(test), seen.logits.shape[1], "labels of test")
    if torch.equal(seen.logits, seen.activations):
        raise ValueError(
            f"the outputs of layer {layer!r} are the logits: pruning them would take "
            "classes away; name a hidden layer"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # prune says it when it counts
        units = top_units(torch.zeros(seen.activations.shape[1], device="cpu"), amount)
        mask = prune(trial, layer=layer, units=units, batchnorm=norm)
        once = replace(recipe or FULL_RECIPE, epochs=1)
        finetune(trial, few, scope=scope, mask=mask, recipe=once, batchnorm=batchnorm)
