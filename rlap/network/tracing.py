"""The graph of what a module's forward computes from what, by torch.fx."""

from __future__ import annotations

from collections import OrderedDict

from torch import fx, nn

from rlap.network.copying import copy_of
from rlap.network.layers import SUPPORTED, model_device, preserved_random_state
from rlap.network.modes import BATCHNORM

INSTANCE_NORM = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
NORMS = (*BATCHNORM, *INSTANCE_NORM, nn.GroupNorm, nn.LayerNorm)
SIZES = ("shape", "ndim", "dtype", "device", "size", "dim")  # calls that give no values


class Tracer(fx.Tracer):
    """Takes layers and norms whole, subclasses from elsewhere too."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        whole = isinstance(m, SUPPORTED + NORMS)
        return whole or super().is_leaf_module(m, module_qualified_name)


def graph_of(module: nn.Module) -> fx.Graph:
    """The graph of the forward in eval mode.

    Raises ``ValueError`` where torch.fx finds none, as where what runs depends on
    values. The module, what it holds and the global random state stay as they were.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 1), nn.ReLU())
    >>> [node.name for node in graph_of(model).nodes]
    ['input_1', '_0', '_1', 'output']
    """
    with preserved_random_state(model_device(module)):
        try:
            return Tracer().trace(_twin(module))
        except Exception as error:  # fx raises whatever the forward raised
            raise ValueError(f"torch.fx cannot trace the model ({error})") from error


def _twin(module: nn.Module) -> nn.Module:
    """A copy in eval mode that shares the parameters and has no hooks: what a forward
    writes to its module, and what a hook would note, must not reach the caller."""
    if "forward" in vars(module):
        raise TypeError("the forward of an instance was replaced")  # unseen by fx
    memo: dict[int, object] = {id(p): p for p in module.parameters()}
    for m in module.modules():
        memo |= {id(h): OrderedDict() for h in (m._forward_hooks, m._forward_pre_hooks)}
    return copy_of(module, memo).eval()


def called(node: fx.Node) -> str:
    """The name of the function, method or attribute that a node stands for, or ""."""
    if node.op == "call_function" and node.target is getattr:
        return node.args[1]
    if node.op in ("call_function", "call_method"):
        return getattr(node.target, "__name__", str(node.target))
    return ""


def is_size(node: fx.Node) -> bool:
    """Whether a node is about shapes and types, or computed from such alone."""
    inputs = node.all_input_nodes
    if called(node) in SIZES:
        return True
    return node.op == "call_function" and bool(inputs) and all(map(is_size, inputs))


def live_nodes(graph: fx.Graph) -> set[fx.Node]:
    """Those that the result hangs on, by value or because they write in place."""
    live: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        if node.op == "output" or node in live or called(node).endswith("_"):
            live |= {node, *node.all_input_nodes}
    return live
