"""Stage 4: fine-tune on the high-quality part, the head (L-FT) or everything (F-FT).

With the backbone frozen in eval mode, what enters the head never changes: it is
computed once and the head alone is trained on it. The sequence of updates is the same
as when the whole network runs each time, only many times faster. Source: paper 3.4.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from rlap.checks import check_model, check_one_of
from rlap.data.base import Split
from rlap.network.cutting import cache_features, cut_head, modules_after
from rlap.network.layers import get_layer, model_device
from rlap.network.precision import own_precision
from rlap.pruning import Mask
from rlap.stored import Stored
from rlap.training.loop import History, check_arguments, train
from rlap.training.recipe import Recipe, resolve_precision

SCOPES = ("head", "layer", "full")
# the paper's: 30 epochs of Adam at 1e-3, batches of 64; weight decay for the head only
HEAD_RECIPE = Recipe(
    epochs=30,
    batch_size=64,
    optimizer="adam",
    lr=1e-3,
    weight_decay=1e-5,
    schedule="constant",
)
FULL_RECIPE = replace(HEAD_RECIPE, weight_decay=0.0)


@own_precision()
def finetune(
    model: nn.Module,
    split: Split,
    *,
    scope: str = "head",
    layer: str | None = None,
    mask: Mask | None = None,
    recipe: Recipe | None = None,
    batchnorm: str | None = None,
    on_epoch: Callable[[nn.Module, int], None] | None = None,
    cache: bool = True,
    device: torch.device | str | None = None,
    seed: int = 0,
    test: Split | None = None,
    checkpoint: str | Path | None = None,
    progress: bool | str = False,
) -> History:
    """Fine-tune ``model`` in place on ``split``; it stays on ``device``, in eval mode.

    Args:
        model: any classifier, (B, ...) -> logits (B, C).
        split: inputs (N, ...), labels (N,): usually the high-quality subset.
        scope: "head" trains ``layer`` and everything that runs after it (L-FT),
            "layer" that layer alone, "full" every parameter that requires a gradient
            (F-FT).
        layer: where the head begins; by default the mask's layer.
        mask: pruned units, held at zero exactly.
        recipe: None takes the paper's (30 epochs of Adam at 1e-3).
        batchnorm: as in ``train``; by default "train" for "full", and else "eval".
        on_epoch: as in ``train``; the whole network runs each time then.
        cache: train the head on features computed once, where that changes nothing;
            else, and for heads that cannot be cut off, run the whole network.
        device, seed, test, checkpoint, progress: as in ``train``.

    Raises what ``train`` raises, and ``ValueError`` without a layer for the head.
    Source: paper section 3.4.

    >>> mask = rlap.prune(model, layer="fc", units=[0, 3])
    >>> history = rlap.finetune(model, data, scope="head", mask=mask, recipe=short)
    >>> mask.holds(model), history.loss[-1] < history.loss[0]
    (True, True)
    """
    check_model(model)
    check_one_of(scope, SCOPES, "scope")
    check_arguments(split, recipe, batchnorm or "train", mask, seed, test=test)
    device = torch.device(device) if device is not None else model_device(model)
    model.to(device)
    common = {"seed": seed, "device": device, "progress": progress, "test": test}
    common |= {"checkpoint": checkpoint, "on_epoch": on_epoch}
    if scope == "full":
        recipe, batchnorm = recipe or FULL_RECIPE, batchnorm or "train"
        return train(model, split, recipe, mask=mask, batchnorm=batchnorm, **common)
    layer = layer or (mask.layer if mask is not None else None)
    if layer is None:
        raise ValueError(
            f"scope={scope!r} needs layer=..., the name where the head begins"
        )
    recipe, common["batchnorm"] = recipe or HEAD_RECIPE, batchnorm or "eval"
    get_layer(model, layer)  # KeyError or TypeError for what is none
    if mask is not None:
        mask.apply(model)
    names = [layer]
    if scope == "head":
        names = modules_after(model, layer, split.inputs[:2].to(device))
    fixed = type(split) is Split and recipe.augment == "none" and on_epoch is None
    if cache and fixed:
        history = _train_cut_head(
            model, split, recipe, scope, layer, names, mask, common
        )
        if history is not None:
            return history
    return train(model, split, recipe, modules=names, mask=mask, **common)


def _train_cut_head(
    model: nn.Module,
    split: Split,
    recipe: Recipe,
    scope: str,
    layer: str,
    names: list[str],
    mask: Mask | None,
    common: dict,
) -> History | None:
    """``train`` the modules ``names`` on what enters ``layer``, computed once; None
    where the head cannot be cut off or that would take as much as all inputs that are
    not held themselves."""
    began = time.perf_counter()
    head = cut_head(model, layer, names, split.inputs[:2])
    if head is None:
        return None
    # "auto" would look at the head alone
    precision = resolve_precision(recipe.precision, model, common["device"])
    if isinstance(split.inputs, Stored):
        # data that are read a batch at a time may be too large to be held as floats
        few = cache_features(model, split.subset(range(1)), layer, precision)
        if few.inputs.numel() >= split.inputs[:1].numel():
            return None
    cached = cache_features(model, split, layer, precision)
    test = common["test"]
    if test is not None:
        test = cache_features(model, test, layer, precision)
    seconds = time.perf_counter() - began
    history = train(
        head,
        cached,
        replace(recipe, precision=precision),
        modules=None if scope == "head" else names,
        mask=mask if mask is not None and mask.layer in names else None,
        **(common | {"test": test}),
    )
    history.setup_seconds = seconds
    model.eval()
    return history
