"""What follows a layer: the BatchNorm whose channels are the layer's units.

Found by dataflow, since modules may be declared in any order: in the graph of the
smallest module around the layer that shows it, at last in that of the whole model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from torch import fx, nn

from rlap.network.layers import get_layer, num_units
from rlap.network.modes import BATCHNORM
from rlap.network.tracing import (
    INSTANCE_NORM,
    NORMS,
    called,
    graph_of,
    is_size,
    live_nodes,
)

NORM_CALLS = ("batch_norm", "instance_norm", "group_norm", "layer_norm")
# what keeps units apart: modules without parameters from these files of torch.nn
# ("linear" holds Identity), and calls by name
MODULES = ("activation", "dropout", "flatten", "linear", "padding", "pooling")
CALLS = {
    *("relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu"),
    *("mish", "softplus", "hardtanh", "hardswish", "hardsigmoid", "sigmoid", "tanh"),
    *("clamp", "dropout", "dropout1d", "dropout2d", "alpha_dropout"),
    *("max_pool1d", "max_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d"),
    *("avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"),
    *("mean", "amax", "flatten", "squeeze", "transpose", "permute"),
    *("contiguous", "clone", "detach", "float", "to"),
}
# what leaves a unit that is zero at zero, but beside others or in another place
JOINS = {"cat", "concat", "concatenate", "stack", "chunk", "split", "getitem"}
JOINS |= {"unsqueeze", "view", "reshape", "mul"}


def following_batchnorm(model: nn.Module, layer: str) -> str | None:
    """The BatchNorm over the units of ``layer`` that alone reads its output, if any.

    It has a scale and a shift, and reads nothing else. What treats each unit by itself
    (ReLU, pooling, dropout) may stand between. Raises as ``following_norms`` does.
    """
    return following_norms(model, layer)[0] if _candidates(model, layer) else None


def following_norms(model: nn.Module, layer: str) -> tuple[str | None, list[str]]:
    """The BatchNorm of the units of ``layer``, or None; and descriptions of the other
    norms that read its output, behind which a unit that is zero is not zero.

    Raises ``ValueError`` where torch.fx cannot trace the model and that matters: a
    BatchNorm is over as many channels, and no module inside the model shows more.
    """
    name = _next_in_sequential(model, layer)
    if name is not None and _have_one_name(model, layer, name):
        return name, []
    shown: list[str] | None = None
    for around in _around(layer):
        try:
            graph = graph_of(model.get_submodule(around))
        except ValueError as error:
            reason = error
            continue
        name, others, inside = _readers(graph, model, layer, around)
        if name is not None and (not around or _have_one_name(model, layer, name)):
            return name, []
        if not around:  # the whole model
            return None, others
        if name is None and inside:
            shown = others
    if shown is not None or not _candidates(model, layer):
        return None, shown or []
    raise ValueError(
        f"cannot tell which BatchNorm follows {layer!r}: {reason}; give prune its "
        "name, batchnorm='...', or batchnorm=None if none does"
    ) from reason


def affine_batchnorm(module: nn.Module | None, d: int) -> bool:
    """Whether ``module`` is a BatchNorm with scale and shift of d channels."""
    return isinstance(module, BATCHNORM) and module.affine and module.num_features == d


def _candidates(model: nn.Module, layer: str) -> bool:
    d = num_units(get_layer(model, layer))
    return any(affine_batchnorm(module, d) for module in model.modules())


def _around(layer: str) -> Iterator[str]:
    """Names of the modules around ``layer``, innermost first; the model is ""."""
    while layer:
        layer = layer.rpartition(".")[0]
        yield layer


def _have_one_name(model: nn.Module, *names: str) -> bool:
    """Whether each module is registered once: else it may also run elsewhere."""
    modules = [module for _, module in model.named_modules(remove_duplicate=False)]
    times = Counter(map(id, modules))
    return all(times[id(model.get_submodule(name))] == 1 for name in names)


def _next_in_sequential(model: nn.Module, layer: str) -> str | None:
    """The layer's BatchNorm where both are children of one nn.Sequential, which shows
    it without a graph: quick, and whatever the rest of the model does."""
    around, _, key = layer.rpartition(".")
    parent, d = model.get_submodule(around), num_units(get_layer(model, layer))
    if type(parent) is not nn.Sequential:
        return None
    keys = list(parent._modules)
    for name in keys[keys.index(key) + 1 :]:
        if affine_batchnorm(parent._modules[name], d):
            return f"{around}.{name}".lstrip(".")
        if not _keeps_apart(parent._modules[name]):
            return None
    return None


def _readers(
    graph: fx.Graph, model: nn.Module, layer: str, around: str
) -> tuple[str | None, list[str], bool]:
    """What the graph of the module called ``around`` shows: the BatchNorm of the units
    of ``layer``, other norms that read them, and whether they are read inside alone."""
    module, own = model.get_submodule(around), layer[len(around) :].lstrip(".")
    runs = [n for n in graph.nodes if n.op == "call_module" and n.target == own]
    ends = _ends(graph, runs, lambda node: _passes(node, module))
    behind = _ends(
        graph, runs, lambda node: _passes(node, module) or called(node) in JOINS
    )
    inside = bool(ends) and all(end.op != "output" for end in behind)
    if len({end.target for end in ends}) == 1:
        calls = [n for n in graph.nodes if n.target == ends[0].target]
        d = num_units(module.get_submodule(own))
        if len(calls) == len(ends) and affine_batchnorm(_module(ends[0], module), d):
            return f"{around}.{ends[0].target}".lstrip("."), [], inside
    others = {_speaks(end, module, around) for end in (*ends, *behind)} - {None}
    return None, sorted(others), inside


def _ends(
    graph: fx.Graph, start: list[fx.Node], passes: Callable[[fx.Node], bool]
) -> list[fx.Node]:
    """The operations that read what ``start`` gives, as it is or after what ``passes``
    its units on."""
    live, todo = live_nodes(graph), list(start)
    found: dict[fx.Node, bool] = {}
    while todo:
        for user in todo.pop().users:
            if user not in live or is_size(user) or user in found:
                continue
            found[user] = passes(user)
            if found[user]:
                todo.append(user)
    return [node for node, goes_on in found.items() if not goes_on]


def _module(node: fx.Node, root: nn.Module) -> nn.Module | None:
    return root.get_submodule(node.target) if node.op == "call_module" else None


def _keeps_apart(module: nn.Module) -> bool:
    home, _, file = type(module).__module__.rpartition(".")
    known = home == "torch.nn.modules" and file in MODULES
    return known and not list(module.parameters())


def _passes(node: fx.Node, root: nn.Module) -> bool:
    """Whether the node has one input, and keeps the units in it apart."""
    if sum(not is_size(n) for n in node.all_input_nodes) != 1:
        return False
    if (module := _module(node, root)) is not None:
        return _keeps_apart(module)
    if called(node) in ("view", "reshape"):  # to a matrix, as flatten does
        shape = node.args[1:]
        if len(shape) == 1 and isinstance(shape[0], tuple | list):
            shape = shape[0]
        return len(shape) == 2
    return called(node) in CALLS


def _speaks(node: fx.Node, root: nn.Module, around: str) -> str | None:
    """What to call a norm behind which units that are zero need not be zero."""
    module = _module(node, root)
    if isinstance(module, INSTANCE_NORM):
        if not (module.affine or module.track_running_stats):
            return None  # it subtracts the unit's own mean, which is zero
    elif not isinstance(module, NORMS):
        return f"{called(node)}()" if called(node) in NORM_CALLS else None
    name = f"{around}.{node.target}".lstrip(".")
    return f"{name!r} ({type(module).__name__})"
