"""The head of a network, cut off: what runs after a layer as a network of its own.

What enters it is computed once and kept, where the backbone does not change.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from rlap.data.base import Split
from rlap.network.layers import (
    check_calls,
    evaluating,
    get_layer,
    model_device,
    preserved_random_state,
    reading,
    stacked,
)
from rlap.network.modes import BATCHNORM
from rlap.network.watching import watching

MAX_FEATURES = 4096  # values a sample worth caching, if there are more than inputs


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
        model(example.clone())  # it may work in place on it
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
        expected, features = with_layer_input(model, example.to(device), layer)
    if features[0].numel() > max(MAX_FEATURES, example[0].numel()):
        return False
    with preserved_random_state(device, seed=0):
        return torch.allclose(head(features), expected, rtol=1e-5, atol=1e-6)


def with_layer_input(
    model: nn.Module, inputs: Tensor, layer: str
) -> tuple[Tensor, Tensor]:
    """Logits (B, C) and what entered ``layer``, (B, ...)."""
    seen: list[Tensor] = []
    with watching(model, [layer], lambda call: seen.append(call.input), before=True):
        return model(inputs.clone()), seen[0]  # it may work in place on them


@torch.no_grad()
def cache_features(model: nn.Module, split: Split, layer: str, precision: str) -> Split:
    """A split whose inputs are what enters ``layer``, in eval mode, on the device."""
    with reading(model, split.fixed_inputs(), precision=precision) as batches:
        seen = ([with_layer_input(model, x, layer)[1].float()] for x in batches)
        (features,) = stacked(seen, len(split))
    there = split.to(model_device(model))
    return Split(
        features,
        there.labels,
        num_classes=there.num_classes,
        targets=there.targets,
        weights=there.weights,
    )
