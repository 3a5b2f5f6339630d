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
from torch import Tensor, fx, nn

from rlap.checks import check_model, check_one_of
from rlap.data.base import Split
from rlap.network.layers import (
    check_calls,
    evaluating,
    get_layer,
    model_device,
    preserved_random_state,
    reading,
)
from rlap.network.modes import BATCHNORM
from rlap.network.precision import own_precision
from rlap.network.watching import watching
from rlap.pruning import Mask
from rlap.training.loop import History, check_arguments, train
from rlap.training.recipe import Recipe, resolve_precision

SCOPES = ("head", "layer", "full")
MAX_FEATURES = 4096  # values a sample worth caching, if there are more than inputs
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
    common = {"seed": seed, "device": device, "progress": progress}
    common |= {"checkpoint": checkpoint, "on_epoch": on_epoch}
    if scope == "full":
        return train(
            model,
            split,
            recipe or FULL_RECIPE,
            mask=mask,
            test=test,
            batchnorm=batchnorm or "train",
            **common,
        )
    layer = layer or (mask.layer if mask is not None else None)
    if layer is None:
        raise ValueError(
            f"scope={scope!r} needs layer=..., the name where the head begins"
        )
    recipe, batchnorm = recipe or HEAD_RECIPE, batchnorm or "eval"
    if mask is not None:
        mask.apply(model)
    get_layer(model, layer)  # KeyError or TypeError for what is none
    names = [layer]
    if scope == "head":
        names = modules_after(model, layer, split.inputs[:2].to(device))
    began = time.perf_counter()
    fixed = type(split) is Split and recipe.augment == "none" and on_epoch is None
    head = cut_head(model, layer, names, split.inputs[:2]) if cache and fixed else None
    if head is None:
        return train(
            model,
            split,
            recipe,
            modules=names,
            batchnorm=batchnorm,
            mask=mask,
            test=test,
            **common,
        )
    precision = resolve_precision(recipe.precision, model, device)
    cached = cache_features(model, split, layer, precision)
    cached_test = test and cache_features(model, test, layer, precision)
    seconds = time.perf_counter() - began
    inside = mask if mask is not None and mask.layer in names else None
    history = train(
        head,
        cached,
        replace(recipe, precision=precision),  # "auto" would look at the head alone
        modules=None if scope == "head" else names,
        batchnorm=batchnorm,
        mask=inside,
        test=cached_test,
        **common,
    )
    history.setup_seconds = seconds
    model.eval()
    return history


def modules_after(model: nn.Module, layer: str, example: Tensor) -> list[str]:
    """Names of the modules that run at or after ``layer`` and not before it.

    Leaves (dropout and the like included) and modules with parameters of their own.
    Found by watching one forward pass of ``example`` (b, ...), never by class.
    """
    get_layer(model, layer)
    order: list[str] = []
    names = [
        name
        for name, module in model.named_modules()
        if list(module.parameters(recurse=False)) or not list(module.children())
    ]
    with (
        torch.no_grad(),
        evaluating(model),
        watching(model, names, lambda call: order.append(call.name), before=True),
    ):
        model(example)
    check_calls(order.count(layer), layer)
    first = order.index(layer)
    return [n for n in dict.fromkeys(order[first:]) if n not in order[:first]]


def cut_head(
    model: nn.Module, layer: str, names: list[str], example: Tensor
) -> nn.Module | None:
    """The network from the input of ``layer`` to the logits, sharing its parameters.

    None when it cannot be cut off: the network cannot be traced, or more than the
    layer's input crosses from the backbone (a skip connection around the layer), or
    what crosses is much larger than the inputs, or the backbone shares a parameter that
    is to be trained, or the result differs from the network's on ``example``.
    """
    if _tied(model, names):
        return None  # what enters the head would change with every step
    with evaluating(model):
        try:
            tested = str(fx.Tracer().trace(model))
            for name in names:  # as in training, but without moving any statistics
                module = model.get_submodule(name)
                module.training = not isinstance(module, BATCHNORM)
            graph = fx.Tracer().trace(model)
        except Exception:  # fx raises whatever the untraceable forward raised
            return None
        if str(graph) != tested:
            return None  # the mode is baked into the graph; tests need the other one
        cut = _head_graph(graph, layer)
        if cut is None:
            return None
        head = fx.GraphModule(model, cut)
        return head if _same(model, head, layer, example) else None


def _tied(model: nn.Module, names: list[str]) -> bool:
    """Whether a parameter that training ``names`` moves is another module's too."""
    inside = {m for name in names for m in model.get_submodule(name).modules()}
    own = [p for m in inside for p in m.parameters(recurse=False)]
    moved = {id(p) for p in own if p.requires_grad}
    outside = (m for m in model.modules() if m not in inside)
    return any(id(p) in moved for m in outside for p in m.parameters(recurse=False))


def _head_graph(graph: fx.Graph, layer: str) -> fx.Graph | None:
    """The part of ``graph`` that follows ``layer``, fed by the layer's input."""
    start = [n for n in graph.nodes if n.op == "call_module" and n.target == layer]
    if len(start) != 1 or len(start[0].all_input_nodes) != 1:
        return None
    feature = start[0].all_input_nodes[0]
    cut = fx.Graph()
    new = {feature: cut.placeholder("features")}
    inside = {start[0]}
    for node in graph.nodes:
        parents = node.all_input_nodes
        if node not in inside and not any(p in inside for p in parents):
            if node.op == "get_attr":
                new[node] = cut.node_copy(node)
            continue
        if any(p not in new for p in parents):
            return None  # something else crosses from the backbone
        inside.add(node)
        new[node] = cut.node_copy(node, lambda n: new[n])
    return cut if any(n.op == "output" for n in cut.nodes) else None


@torch.no_grad()
def _same(model: nn.Module, head: nn.Module, layer: str, example: Tensor) -> bool:
    """Whether the head gives the network's own logits from features worth caching."""
    device = model_device(model)
    with preserved_random_state(device, seed=0):
        expected, features = _with_layer_input(model, example.to(device), layer)
    if features[0].numel() > max(MAX_FEATURES, example[0].numel()):
        return False
    with preserved_random_state(device, seed=0):
        return torch.allclose(head(features), expected, rtol=1e-5, atol=1e-6)


def _with_layer_input(
    model: nn.Module, inputs: Tensor, layer: str
) -> tuple[Tensor, Tensor]:
    """Logits (B, C) and what entered ``layer``, (B, ...)."""
    seen: list[Tensor] = []
    with watching(model, [layer], lambda call: seen.append(call.input), before=True):
        return model(inputs), seen[0]


@torch.no_grad()
def cache_features(model: nn.Module, split: Split, layer: str, precision: str) -> Split:
    """A split whose inputs are what enters ``layer``, in eval mode, on the device."""
    rows: list[Tensor] = []
    with reading(model, split.inputs, precision=precision) as batches:
        for batch in batches:
            rows.append(_with_layer_input(model, batch, layer)[1].float())
    labels = split.labels.to(model_device(model))
    return Split(torch.cat(rows), labels, num_classes=split.num_classes)
