"""Graphs of what a module's forward computes from what, by torch.fx.

They are for reading, never run, so that more can be traced than by torch.fx alone: a
forward with conditions on values gives one graph for each way through it.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

from torch import Tensor, fx, nn

from rlap.network.layers import SUPPORTED, model_device, preserved_random_state
from rlap.network.modes import BATCHNORM

INSTANCE_NORM = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
NORMS = (*BATCHNORM, *INSTANCE_NORM, nn.GroupNorm, nn.LayerNorm)
SIZES = ("shape", "ndim", "dtype", "device", "size", "dim")  # calls that give no values
MAX_PATHS = 16  # through one forward
MAX_CONDITIONS = 64  # on one path: more may be a loop that never ends


class _Value(fx.Proxy):
    """A traced value that has a length, for ``x.view(len(x), -1)`` is common."""

    def __len__(self) -> int:
        if called(self.node) in SIZES:
            return super().__len__()  # an error: conditions hang on it
        return 2  # samples in a batch; any number will do


class _Tracer(fx.Tracer):
    """Takes layers and norms whole, subclasses too; a condition on values comes out as
    ``decisions`` say, and false after those."""

    def __init__(self, decisions: tuple[bool, ...]) -> None:
        super().__init__()
        self.decisions, self.asked = decisions, 0

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        whole = isinstance(m, SUPPORTED + NORMS)
        return whole or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Value(node, self)

    def to_bool(self, obj: fx.Proxy) -> bool:
        self.asked += 1
        if self.asked > MAX_CONDITIONS:
            raise RuntimeError("too many conditions on values")
        known = self.asked <= len(self.decisions)
        return self.decisions[self.asked - 1] if known else False


def graphs_of(module: nn.Module) -> tuple[list[fx.Graph], object]:
    """A graph for each way through the forward, and why one way or all have none.

    A way that ends in an error is left out: it refuses inputs that are not meant. The
    module, what it holds, and the global random state stay as they were.
    """
    with preserved_random_state(model_device(module)):
        try:
            twin = _twin(module)
        except Exception as error:  # whatever copying an attribute raised
            return [], error
        return _paths(twin)


def _paths(module: nn.Module) -> tuple[list[fx.Graph], object]:
    graphs: list[fx.Graph] = []
    pending: list[tuple[bool, ...]] = [()]
    reason: object = None
    for _ in range(MAX_PATHS):
        decisions = pending.pop()
        tracer = _Tracer(decisions)
        try:
            graphs.append(tracer.trace(module))
        except Exception as error:  # fx raises whatever the forward raised
            reason = reason or error
        for i in range(len(decisions), min(tracer.asked, MAX_CONDITIONS)):
            pending.append((*decisions, *[False] * (i - len(decisions)), True))
        if not pending:
            return graphs, reason
    return [], "too many conditions on values"


def _twin(module: nn.Module) -> nn.Module:
    """A copy in eval mode that shares the parameters and has no hooks: what a forward
    writes to its module, and what a hook would note, must not reach the caller."""
    if "forward" in vars(module):
        raise TypeError("the forward of an instance was replaced")  # unseen by fx
    memo: dict[int, object] = {id(p): p for p in module.parameters()}
    for m in module.modules():
        memo |= {id(h): OrderedDict() for h in (m._forward_hooks, m._forward_pre_hooks)}
        kept = [v for v in vars(m).values() if isinstance(v, Tensor) and not v.is_leaf]
        memo |= {id(v): v for v in kept}  # activations, which cannot be copied
    twin = copy.deepcopy(module, memo)
    for m in twin.modules():
        m.training = False
    return twin


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
