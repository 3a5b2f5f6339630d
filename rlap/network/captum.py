"""captum's attributions, on a copy of the network that captum can see through.

Its DeepLift sees modules only, and each may run once: a ReLU that is called as a
function it takes for linear, without a word.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from rlap.network.copying import copy_of
from rlap.network.cutting import cut_head, with_layer_input
from rlap.network.layers import get_layer, unit_sum
from rlap.network.tracing import Tracer, called
from rlap.network.watching import watching

METHODS = {
    "captum:gradient_x_activation": "LayerGradientXActivation",
    "captum:conductance": "LayerConductance",
    "captum:integrated_gradients": "LayerIntegratedGradients",
    "captum:deeplift": "LayerDeepLift",
    "captum:internal_influence": "InternalInfluence",
}
ADDS_UP = 0.01  # share of DeepLift's attributions that may be missing

MODULES = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "softmax": nn.Softmax,
    "max_pool1d": nn.MaxPool1d,
    "max_pool2d": nn.MaxPool2d,
    "max_pool3d": nn.MaxPool3d,
}
IN_PLACE = {operator.iadd: operator.add, operator.imul: operator.mul}


def modular(model: nn.Module) -> nn.Module:
    """A copy in eval mode that computes the same, nothing of it in place.

    Where torch.fx cannot trace the network, its functions stay functions.

    >>> from torch import nn
    >>> class Functional(nn.Linear):
    ...     def forward(self, x):
    ...         return super().forward(x).relu_()
    >>> [type(module).__name__ for module in modular(Functional(2, 3)).children()]
    ['ReLU']
    """
    new = copy_of(model).eval()
    for module in new.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False
    try:
        graph = Tracer().trace(new)
    except Exception:  # fx raises whatever the forward raised
        return sparing_inputs(new)
    seen: Counter[str] = Counter()
    for i, node in enumerate(list(graph.nodes)):
        if node.op == "call_function" and node.target in IN_PLACE:
            node.target = IN_PLACE[node.target]
        module = _module_for(node, new, seen)
        if module is None:
            continue
        name = f"_nonlinearity_{i}"
        new.add_module(name, module.eval())
        with graph.inserting_before(node):
            call = graph.call_module(name, (node.all_input_nodes[0],))
        node.replace_all_uses_with(call)
        graph.erase_node(node)
    return sparing_inputs(fx.GraphModule(new, graph))


def sparing_inputs(model: nn.Module) -> nn.Module:
    """The model, which is given a copy of its input from now on: captum asks for
    gradients of a leaf, and asks several times of the same one."""

    def copied(_: nn.Module, given: tuple) -> tuple:
        # DeepLift gives pairs of inputs and baselines, and then copies these itself
        return tuple(x.clone() if isinstance(x, Tensor) else x for x in given)

    model.register_forward_pre_hook(copied)
    return model


def _module_for(node: fx.Node, root: nn.Module, seen: Counter[str]) -> nn.Module | None:
    """The module to put in the place of a call, if one is needed."""
    if node.op == "call_module":
        seen[node.target] += 1
        module = root.get_submodule(node.target)
        again = seen[node.target] > 1 and isinstance(module, tuple(MODULES.values()))
        return copy_of(module) if again else None
    make = MODULES.get(called(node).removesuffix("_"))
    if make is None or len(node.all_input_nodes) != 1:
        return None
    apart = ("input", "inplace", "_stacklevel")
    given = {k: v for k, v in node.kwargs.items() if k not in apart and v is not None}
    try:
        module = make(*node.args[1:], **given)
    except TypeError:  # a setting that only the function has
        return None
    if hasattr(module, "inplace"):
        module.inplace = False
    return module


def captum_attribution(
    model: nn.Module, x: Tensor, layer: str, method: str, target: Tensor
) -> Tensor:
    """|attribution| (B, d) of the target class's logit by one of captum's methods;
    ``model`` is a ``modular`` copy."""
    try:
        import captum.attr
    except ImportError as error:
        raise ImportError(f"{method!r} needs captum: pip install captum") from error
    module, given = get_layer(model, layer), {"target": target}
    if method == "captum:integrated_gradients":
        model, x, given["baselines"] = without_backbone(model, x, layer)
    explain: Callable = getattr(captum.attr, METHODS[method])(model, module)
    if method == "captum:deeplift":
        result, delta = explain.attribute(x, return_convergence_delta=True, **given)
        check_adds_up(model, x, layer, result, delta)
    else:
        result = explain.attribute(x, **given)
        result = result[0] if isinstance(result, tuple) else result
    return unit_sum(result.detach(), module).abs()


@torch.no_grad()
def without_backbone(
    model: nn.Module, x: Tensor, layer: str
) -> tuple[nn.Module, Tensor, Tensor]:
    """The head that begins at ``layer``, and what enters it for ``x`` and for zeros.

    The path of integrated gradients lies at the layer, and captum would run the whole
    network in each of its fifty steps. Where the head cannot be cut off it does.
    """
    head = cut_head(model, layer, [], x[:2])
    if head is None:
        return model, x, torch.zeros_like(x)
    entered = (with_layer_input(model, z, layer)[1] for z in (x, torch.zeros_like(x)))
    return head, *entered


@torch.no_grad()
def check_adds_up(
    model: nn.Module, x: Tensor, layer: str, result: Tensor, delta: Tensor
) -> None:
    """Raise ``ValueError`` where DeepLift's attributions (B, ...) miss the change of
    the logit by ``delta`` (B,), though all of it passes the layer.

    What passes beside the layer they cannot account for, and need not.
    """
    baseline: list[Tensor] = []
    with watching(model, [layer], lambda call: baseline.append(call.output)):
        least = model(torch.zeros_like(x))
    with watching(model, [layer], lambda call: baseline[0]):
        beside = model(x)
    if not torch.allclose(beside, least, rtol=1e-4, atol=1e-5):
        return
    size = result.abs().flatten(1).sum(1)
    worst = float((delta.abs() / size.clamp(min=1e-6)).max())
    if worst > ADDS_UP:
        raise ValueError(
            f"captum's DeepLift does not add up here (off by {worst:.0%}): it knows no "
            "rule for a nonlinearity behind the layer (GELU, for example), or torch.fx "
            "cannot trace the network to make a module of it; take another method"
        )
