"""What relevance does at one operation of a network: the table of known ones.

An operation either passes relevance on (one output, one input), moves it (each output
is the value of one input), or is a linear map that shares it by a rule.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from rlap.unlearning.lrp.rules import LinearMap, Rule, Shared, share

LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
ONE_TO_ONE = (  # each output has one input, and its relevance is that of the output
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardtanh, nn.Hardswish),
    *(nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Identity, nn.Dropout, nn.Dropout2d),
    *(F.relu, F.relu_, F.leaky_relu, F.elu, F.gelu, F.silu, F.hardtanh, F.hardswish),
    *(F.softplus, F.dropout, torch.relu, torch.relu_, torch.tanh, torch.sigmoid),
    *("relu", "relu_", "tanh", "sigmoid", "contiguous", "clone", "float"),
)
MOVING = (  # each output is the value of one of the inputs
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
    *(nn.Flatten, nn.Unflatten, F.max_pool1d, F.max_pool2d, F.adaptive_max_pool2d),
    *(F.pad, torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.cat),
    *(torch.squeeze, torch.unsqueeze, torch.amax, operator.getitem),
    *("flatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze"),
    "amax",
)
AVERAGING = (  # linear, weights all >= 0, no bias
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
    *(F.avg_pool1d, F.avg_pool2d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d),
    *(torch.mean, torch.sum, "mean", "sum"),
)
SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
DIFFERENCES = (operator.sub, operator.isub, torch.sub, "sub", "sub_")
SCALINGS = (operator.mul, operator.imul, operator.truediv, torch.mul, torch.div)
SCALINGS += ("mul", "mul_", "div", "div_")


def is_value(result: object) -> bool:
    """Whether a result carries relevance: sizes and indices do not."""
    return isinstance(result, Tensor) and result.is_floating_point()


def affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift (d,) that a BatchNorm in eval mode applies to each channel."""
    if norm.running_mean is None:
        raise TypeError("a BatchNorm without running statistics has no fixed scale")
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias


def lone_batchnorm(norm: nn.Module, xs: list[Tensor]) -> tuple[Tensor, Callable]:
    """A BatchNorm that no linear layer precedes: a diagonal linear map.

    Each output has one input, so all rules would share alike; the epsilon rule does.
    """
    shape = (1, -1, *[1] * (xs[0].dim() - 2))
    scale, shift = (v.view(shape) for v in affine(norm))
    linear = LinearMap(
        lambda x: scale * x,
        lambda x: scale.clamp(min=0) * x,
        lambda x: scale.clamp(max=0) * x,
        lambda x: 1 * x,
        shift,
    )

    def back(R: Tensor, rule: Rule, spread: bool) -> Shared:
        return share(linear, xs, R, Rule(epsilon=rule.epsilon), spread)

    return scale * xs[0] + shift, back


def residual_sum(
    node: fx.Node, parents: list[fx.Node], values: dict, minus: bool
) -> Callable | None:
    """A sum of two tensors: a linear map with weights one; a constant is a bias."""
    terms, constant = [], None
    for place, arg in enumerate(node.args):
        value = values[arg] if isinstance(arg, fx.Node) else torch.as_tensor(arg)
        value = -value if minus and place == 1 else value
        if arg in parents:
            terms.append(value)
        else:
            constant = value.to(values[parents[0]])
    result = values_shape(terms, constant)
    if any(t.shape != result for t in terms) or len(terms) != len(parents):
        return None  # broadcast, or a tensor added to itself
    add = lambda *tensors: sum(tensors[1:], tensors[0]) * 1  # noqa: E731
    linear = LinearMap(add, add, None, add, constant)
    return lambda R, rule, spread: share(linear, terms, R, rule, spread)


def values_shape(terms: list[Tensor], constant: Tensor | None) -> torch.Size:
    """The shape of the sum."""
    others = [] if constant is None else [constant.shape]
    return torch.broadcast_shapes(*(t.shape for t in terms), *others)


def passed_on(R: Tensor, rule: Rule, spread: bool) -> Shared:
    """The inputs receive the relevance of the outputs as it is."""
    none = R.new_zeros(len(R))
    return Shared([R], none, none)


def moved(run: Callable, xs: list[Tensor], R: Tensor) -> Shared:
    """Relevance goes where the values came from."""
    with torch.enable_grad():
        leaves = [x.detach().clone().requires_grad_() for x in xs]
        result = run(*(leaf * 1 for leaf in leaves))
    none = R.new_zeros(len(R))
    return Shared(list(torch.autograd.grad(result, leaves, R)), none, none)
