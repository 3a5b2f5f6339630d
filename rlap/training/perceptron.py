"""Linear layers with ReLU between them: their gradients by the chain rule, written out.

A head on cached features is trained in thousands of small steps, in which autograd's
graph costs more than the arithmetic. This is the same arithmetic without the graph.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from rlap.network.modes import has_own_weights

RELUS = (torch.relu, torch.relu_, F.relu, F.relu_)
WATCHED = ("forward", "forward_pre", "backward", "backward_pre")


class Perceptron:
    """Loss and gradients of a chain of layers; None stands for a ReLU.

    >>> chain = Perceptron([torch.nn.Linear(4, 8), None, torch.nn.Linear(8, 3)])
    >>> logits, loss = chain.backward(torch.ones(5, 4), torch.zeros(5).long())
    >>> logits.shape, chain.layers[0].weight.grad.shape
    (torch.Size([5, 3]), torch.Size([8, 4]))
    """

    def __init__(self, layers: list[nn.Linear | None], precision: str = "fp32") -> None:
        self.layers = layers
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        trained = [i for i, layer in enumerate(layers) if _trained(layer)]
        self.lowest = min(trained, default=0)  # below it nothing needs a gradient

    @classmethod
    def of(cls, model: nn.Module, precision: str) -> Perceptron | None:
        """The perceptron that ``model``, traced by torch.fx, is in its present mode; or
        None where it is anything else, or somebody watches it by hooks."""
        if not isinstance(model, fx.GraphModule) or _watched(model):
            return None
        layers, last = [], None
        for node in model.graph.nodes:
            if node.op == "output":
                ends = node.args[0] is last and layers and layers[-1] is not None
                return cls(layers, precision) if ends and _once(layers) else None
            if node.op == "placeholder":
                if last is not None:
                    return None
            elif node.all_input_nodes != [last] or not _is_step(model, node):
                return None
            elif node.op == "call_module":
                module = model.get_submodule(node.target)
                if isinstance(module, nn.Linear):
                    layers.append(module)
                elif isinstance(module, nn.ReLU):
                    layers.append(None)
            else:
                layers.append(None)
            last = node
        return None

    @torch.no_grad()
    def backward(
        self, inputs: Tensor, labels: Tensor, smoothing: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, C) and the mean cross-entropy of inputs (B, F), labels (B,); each
        trained parameter's ``grad`` becomes its gradient."""
        x, given, weights = inputs.to(self.dtype), [], []
        for layer in self.layers:
            if layer is None:
                x = x.relu()
                given.append(x)
                weights.append(None)
                continue
            given.append(x)
            weights.append(layer.weight.to(self.dtype))
            bias = None if layer.bias is None else layer.bias.to(self.dtype)
            x = F.linear(x, weights[-1], bias)
        logits = x.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        slope = logits.softmax(1).sub_(smoothing / logits.shape[1])
        hit = slope.new_full((len(labels), 1), smoothing - 1)
        slope.scatter_add_(1, labels[:, None], hit).div_(len(labels))
        slope = slope.to(self.dtype)  # of the loss, by what the layer returned
        for i in range(len(self.layers) - 1, self.lowest - 1, -1):
            if self.layers[i] is None:
                slope = slope * given[i].sign()  # a ReLU returns 0 or more
                continue
            for kind, parameter in _trained(self.layers[i]).items():
                new = slope.T @ given[i] if kind == "weight" else slope.sum(0)
                parameter.grad = new.to(parameter.dtype)
            if i > self.lowest:
                slope = slope @ weights[i]
        return logits, loss


def _trained(layer: nn.Linear | None) -> dict[str, nn.Parameter]:
    """The parameters of a layer that need a gradient."""
    found = {} if layer is None else dict(layer.named_parameters(recurse=False))
    return {kind: p for kind, p in found.items() if p.requires_grad}


def _once(layers: list[nn.Linear | None]) -> bool:
    """Whether no parameter serves twice: its gradients would have to be added up."""
    parameters = [p for layer in layers for p in _trained(layer).values()]
    return len({id(p) for p in parameters}) == len(parameters)


def _watched(module: nn.Module) -> bool:
    """Whether somebody watches what a module, or a parameter of its own, does."""
    hooks = [getattr(module, f"_{kind}_hooks") for kind in WATCHED]
    own = module.parameters(recurse=False)
    return any(hooks) or any(p._backward_hooks for p in own)


def _is_step(model: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is a linear layer, a ReLU, or nothing at all as things are."""
    if node.op == "call_function":
        return node.target in RELUS
    if node.op == "call_method":
        return node.target in ("relu", "relu_")
    if node.op != "call_module":
        return False
    module = model.get_submodule(node.target)
    if _watched(module):
        return False
    if type(module) is nn.Dropout:
        return not module.training or module.p == 0
    if type(module) is nn.Linear:
        return has_own_weights(module)
    return type(module) in (nn.ReLU, nn.Identity)
