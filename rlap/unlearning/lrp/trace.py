"""A network as a list of operations that relevance can be sent back through.

``Trace`` runs a torch.fx graph operation by operation, remembers the values, and walks
back. An operation that is not known to conserve relevance is an error, never a guess.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from rlap.network.copying import copy_of
from rlap.network.modes import BATCHNORM
from rlap.network.tracing import Tracer
from rlap.unlearning.lrp import operations as ops
from rlap.unlearning.lrp.rules import LinearMap, Rule, Shared, share


@dataclass
class Step:
    """One operation of a forward pass.

    ``back`` takes the relevance of the result and a rule, and returns that of the
    ``parents``, the inputs that depend on the network's input.
    """

    node: fx.Node
    parents: list[fx.Node]
    back: Callable[[Tensor, Rule, bool], Shared]


@dataclass
class Back:
    """What a walk back found; see ``rlap.unlearning.lrp.propagation.Relevance``."""

    layers: dict[str, Tensor]
    inputs: Tensor
    bias: Tensor
    stabiliser: Tensor


class Trace:
    """A copy of ``model`` in eval mode, ready to run forward and back.

    Raises ``TypeError`` when torch.fx cannot trace it, or a hook changes it on the way.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        hooked = [n for n, m in model.named_modules() if m._forward_hooks]
        hooked += [n for n, m in model.named_modules() if m._forward_pre_hooks]
        if hooked:
            raise TypeError(
                f"module {hooked[0]!r} has forward hooks (a gate, for example), which "
                "relevance cannot see; remove them first"
            )
        self.model = copy_of(model).eval().to(dtype).requires_grad_(False)
        try:
            self.graph = Tracer().trace(self.model)  # which keeps its constants
        except Exception as error:  # fx raises whatever the forward raised
            raise TypeError(
                f"torch.fx cannot trace this network ({error}); relevance needs a "
                "forward without control flow that depends on values"
            ) from error
        self.modules = dict(self.model.named_modules())
        self.folded = self._foldable()
        self.steps: list[Step] = []

    def module(self, node: object) -> nn.Module | None:
        """The module that a node of the graph calls, if it calls one."""
        if isinstance(node, fx.Node) and node.op == "call_module":
            return self.modules[node.target]
        return None

    def _foldable(self) -> dict[fx.Node, fx.Node]:
        """Linear nodes and pools between -> the BatchNorm node that ends the chain."""
        folded: dict[fx.Node, fx.Node] = {}
        for node in self.graph.nodes:
            if not isinstance(self.module(node), BATCHNORM):
                continue
            chain, before = [], node.args[0]
            while isinstance(self.module(before), nn.MaxPool2d) and lone(before):
                chain.append(before)
                before = before.args[0]
            if isinstance(self.module(before), ops.LINEAR) and lone(before):
                folded |= dict.fromkeys((before, *chain), node)
        return folded

    def calls(self, name: str) -> int:
        """How often the module called ``name`` runs in one forward pass."""
        return sum(n.op == "call_module" and n.target == name for n in self.graph.nodes)

    # --- forward ----------------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, C); every operation is remembered for ``backward``."""
        self.steps, values, live = [], {}, set()
        self.source = None
        for node in self.graph.nodes:
            if node.op == "placeholder" and self.source is None:
                self.source, values[node] = node, x
                live.add(node)
            elif node.op == "placeholder":
                if not node.args:
                    raise TypeError("relevance needs a network with one input")
                values[node] = node.args[0]  # an optional argument's default
            elif node.op == "get_attr":
                values[node] = operator.attrgetter(node.target)(self.model)
            elif node.op == "output":
                self.sink = node.args[0]
                return values[self.sink] if self.sink in live else None
            else:
                parents = [n for n in node.all_input_nodes if n in live]
                values[node], back = self._run(node, parents, values)
                several = holds_tensors(values[node])
                if parents and (several or ops.is_value(values[node])):
                    if back is None:
                        raise TypeError(self._unknown(node))
                    live.add(node)
                    self.steps.append(Step(node, parents, back))
        raise TypeError("the network returns nothing")

    def _unknown(self, node: fx.Node) -> str:
        module = self.module(node)
        called = getattr(node.target, "__name__", node.target)
        what = f"{type(module).__name__} {node.target!r}" if module else f"{called!r}"
        return f"relevance has no conserving rule for {what} (node {node.name})"

    def _run(
        self, node: fx.Node, parents: list[fx.Node], values: dict
    ) -> tuple[Any, Callable | None]:
        """The value of a node, and how relevance goes back through it, if known."""
        # copies: an operation in place must not change what is remembered
        fill = {
            n: values[n].clone() if n in parents else values[n]
            for n in node.all_input_nodes
        }
        xs = [values[n] for n in parents]
        module = self.module(node)
        if isinstance(module, ops.LINEAR) and parents:
            return self._linear(node, module, xs)
        if isinstance(module, BATCHNORM) and parents:
            if node in self.folded.values():
                return xs[0], ops.passed_on
            return ops.lone_batchnorm(module, xs)

        def run(*tensors: Tensor) -> Any:
            now = {**fill, **dict(zip(parents, tensors, strict=True))}
            args = fx.node.map_arg(node.args, lambda n: now[n])
            kwargs = fx.node.map_arg(node.kwargs, lambda n: now[n])
            if module is not None:
                return module(*args, **kwargs)
            if node.op == "call_method":
                return getattr(args[0], node.target)(*args[1:], **kwargs)
            return node.target(*args, **kwargs)

        if node in self.folded:  # a max-pool before the BatchNorm that was folded
            sign = self._sign(self.folded[node])
            pooled = run
            run = lambda x: sign * pooled(sign * x)  # noqa: E731
            return run(xs[0]), lambda R, rule, spread: ops.moved(run, xs, R)
        value = run(*(fill[n] for n in parents))
        if not ops.is_value(value):
            return value, None
        back = self._way_back(node, module, parents, xs, run, values)
        if back is ops.passed_on and value.shape != xs[0].shape:
            back = None  # one value went to several places
        return value, back

    def _way_back(
        self,
        node: fx.Node,
        module: nn.Module | None,
        parents: list[fx.Node],
        xs: list[Tensor],
        run: Callable,
        values: dict,
    ) -> Callable | None:
        kind = type(module) if module is not None else node.target
        if kind in ops.ONE_TO_ONE or (kind in ops.SCALINGS and len(parents) == 1):
            return ops.passed_on if len(parents) == 1 else None
        if kind in ops.MOVING:
            return lambda R, rule, spread: ops.moved(run, xs, R)
        if kind in ops.AVERAGING and len(parents) == 1:
            linear = LinearMap(run, run, None, run)
            return lambda R, rule, spread: share(linear, xs, R, rule, spread)
        if kind in ops.SUMS + ops.DIFFERENCES and not node.kwargs:
            return ops.residual_sum(node, parents, values, kind in ops.DIFFERENCES)
        return None

    def _sign(self, batchnorm: fx.Node) -> Tensor:
        """-1 for channels that the BatchNorm turns round, else 1; (1, d, 1, 1).

        A channel with a negative scale is pooled by the minimum once it is folded.
        """
        scale = ops.affine(self.module(batchnorm))[0]
        return torch.where(scale < 0, -1.0, 1.0).to(scale).view(1, -1, 1, 1)

    def _linear(
        self, node: fx.Node, module: nn.Module, xs: list[Tensor]
    ) -> tuple[Tensor, Callable]:
        """A linear layer, the BatchNorm that follows folded into it."""
        weight, bias = module.weight, module.bias
        if not isinstance(weight, nn.Parameter):
            raise TypeError(f"the weight of {node.target!r} is parametrized")
        if node in self.folded:
            scale, shift = ops.affine(self.module(self.folded[node]))
            weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
            bias = shift if bias is None else bias * scale + shift
        silent = {} if module.bias is None else {"bias": torch.zeros_like(module.bias)}

        def with_weight(w: Tensor) -> Callable[[Tensor], Tensor]:
            return lambda x: functional_call(module, {"weight": w, **silent}, (x,))

        if bias is not None and not isinstance(module, nn.Linear):
            bias = bias.view(-1, *[1] * (weight.dim() - 2))  # (d, 1, 1)
        linear = LinearMap(
            with_weight(weight),
            with_weight(weight.clamp(min=0)),
            with_weight(weight.clamp(max=0)),
            with_weight(torch.ones_like(weight)),
            bias,
        )
        z = linear.whole(xs[0])
        z = z if bias is None else z + bias
        return z, lambda R, rule, spread: share(linear, xs, R, rule, spread)

    # --- back -------------------------------------------------------------------------

    def backward(
        self,
        start: Tensor,
        rules: Mapping[str, Rule],
        layers: Sequence[str] | None,
        spread: bool,
    ) -> Back:
        """Send ``start`` (B, C), the relevance of the logits, back to the input."""
        if layers is None:
            named = [n for n, m in self.modules.items() if isinstance(m, ops.LINEAR)]
            layers = [n for n in named if self.calls(n) == 1]
        for name in layers:
            if self.calls(name) != 1:
                raise ValueError(
                    f"layer {name!r} runs {self.calls(name)} times in one forward pass"
                )
        found: dict[str, Tensor] = {}
        waiting: dict[fx.Node, Tensor] = {self.sink: start}
        bias = stabiliser = start.new_zeros(len(start))
        for step in reversed(self.steps):
            R = waiting.pop(step.node, None)
            if R is None:
                continue  # nothing that the logits depend on
            name = step.node.target if step.node.op == "call_module" else ""
            if name in layers:
                found[name] = R
            shared = step.back(R, rules.get(name, rules[""]), spread)
            bias, stabiliser = bias + shared.bias, stabiliser + shared.stabiliser
            for parent, part in zip(step.parents, shared.inputs, strict=True):
                before = waiting.get(parent)
                waiting[parent] = part if before is None else before + part
        if self.source not in waiting:
            raise TypeError("the logits do not depend on the input")
        ordered = {name: found[name] for name in layers if name in found}
        return Back(ordered, waiting[self.source], bias, stabiliser)


def lone(node: fx.Node) -> bool:
    """Whether only one other node uses the result of ``node``."""
    return len(node.users) == 1


def holds_tensors(result: object) -> bool:
    """Whether an operation returned several tensors at once."""
    return isinstance(result, tuple | list) and any(map(ops.is_value, result))
