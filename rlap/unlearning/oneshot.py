"""Baselines without training: a masked logit, dampened weights, projected weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from rlap.checks import check_count, check_finite, check_number, check_seed
from rlap.data.base import Split
from rlap.layers import (
    SUPPORTED,
    channels_last,
    evaluating,
    model_device,
    pass_size,
)
from rlap.unlearning.common import begin, some, together

MASKED = -1e9  # finite, so that everything that reads logits goes on working
MAX_GRADIENTS = 2**25  # numbers of per-sample gradients held at once


def forget_logit_mask(
    model: nn.Module, forget: Split, retain: Split | None = None
) -> nn.Module:
    """Never answer the class: its output weights become 0 and its bias -1e9.

    The probabilities of all other classes are exactly the model's own, renormalised.
    No data are used but the label. Source: the trivial control (weight filtration).
    """
    new, label, last = begin(model, forget, retain)
    layer = new.get_submodule(last)
    if layer.bias is None:
        layer.bias = nn.Parameter(layer.weight.new_zeros(layer.out_features))
    with torch.no_grad():
        layer.weight[label] = 0
        layer.bias[label] = MASKED
    return new


def forget_ssd(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    alpha: float = 10.0,
    dampening: float = 1.0,
    fisher_batch: int = 64,
    samples: int | None = None,
    seed: int = 0,
) -> nn.Module:
    """Selective synaptic dampening: shrink weights that matter most for the class.

    With I the importance (the mean over batches of the squared gradient of the CE) for
    the forget set and for all data, every weight with I_forget > alpha I_all is
    multiplied by min(dampening I_all / I_forget, 1).

    Args:
        alpha, dampening: 10 and 1 in the authors' code.
        fisher_batch: samples of a batch, as in the authors' code; 1 gives the diagonal
            of the empirical Fisher information. A class that is a share q of the data
            then has I_forget <= I_all / q: among ten classes alpha = 10 finds nothing,
            and what the code finds comes from gradients that cancel in mixed batches.
        samples: at most so many of each set, drawn from ``seed``; None takes all.

    Source: Foster et al. (AAAI 2024).
    """
    new, _, _ = begin(model, forget, retain)
    for name, value in (("alpha", alpha), ("dampening", dampening)):
        if check_number(value, name) <= 0:
            raise ValueError(f"{name} must be positive, not {value}")
    forget, retain = some(forget, samples, seed), some(retain, samples, seed)
    one = importance_of_weights(new, forget, fisher_batch, seed)
    both = together([forget, retain])
    whole = importance_of_weights(new, both, fisher_batch, seed)
    with torch.no_grad():
        for name, of_class in one.items():
            factor = dampening * whole[name] / of_class.clamp(min=1e-30)
            chosen = of_class > alpha * whole[name]
            parameter = new.get_parameter(name)
            parameter.mul_(torch.where(chosen, factor.clamp(max=1), 1.0))
    return new


def importance_of_weights(
    model: nn.Module, split: Split, batch_size: int, seed: int
) -> dict[str, Tensor]:
    """Mean over shuffled batches of the squared gradient of the mean CE, in eval mode,
    by trainable parameter. Batches are weighted by their samples."""
    check_count(batch_size, "fisher_batch")
    live = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    fixed = {n: p.detach() for n, p in model.named_parameters() if n not in live}
    fixed |= dict(model.named_buffers())

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, {**parameters, **fixed}, (x,)), y)

    squared = vmap(grad(loss), in_dims=(None, 0, 0))
    total = {name: torch.zeros_like(p) for name, p in live.items()}
    device, numbers = model_device(model), sum(p.numel() for p in live.values())
    at_once = max(1, min(64, MAX_GRADIENTS // numbers))  # gradients held in memory
    generator = torch.Generator().manual_seed(check_seed(seed))
    order = torch.randperm(len(split), generator=generator)
    whole = len(split) // batch_size * batch_size
    full = order[:whole].view(-1, batch_size)
    groups = [*full.split(at_once)] if whole else []
    groups += [order[None, whole:]] if whole < len(split) else []
    with evaluating(model):
        for index in groups:  # (batches, samples)
            index = index.to(split.inputs.device)
            x, y = split.inputs[index].to(device), split.labels[index].to(device)
            for name, g in squared(live, x, y).items():
                total[name] += index.shape[1] * g.square().sum(0)
    return {name: check_finite(t / len(split), name) for name, t in total.items()}


def forget_svd_projection(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    alpha_retain: float = 100.0,
    alpha_forget: float = 3.0,
    samples: int = 900,
    layers: Sequence[str] | None = None,
    seed: int = 0,
) -> nn.Module:
    """Project from every layer's input what the class needs and the others do not.

    For each layer the inputs (patches, for a convolution) of both sets are decomposed;
    with U the directions and s their shares of the variance about zero,
    M = U diag(a s / ((a - 1) s + 1)) U^T measures how much a set uses each direction,
    and W becomes W (I - (M_f - M_f M_r)). No gradients and no training.

    Args:
        alpha_retain, alpha_forget: a of each set (100 and 3 in the authors' code).
        samples: of each set, drawn from ``seed``.
        layers: names of Linear and Conv2d layers; None takes all that run once.

    Source: Kodge et al. (TMLR 2024).
    """
    new, _, _ = begin(model, forget, retain)
    for name, value in (("alpha_retain", alpha_retain), ("alpha_forget", alpha_forget)):
        if check_number(value, name) < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    of_forget = input_moments(new, some(forget, samples, seed), layers)
    of_retain = input_moments(new, some(retain, samples, seed), layers)
    with torch.no_grad():
        for name, moment in of_forget.items():
            m_f = importance(moment, alpha_forget)
            m_r = importance(of_retain[name], alpha_retain)
            weight = new.get_submodule(name).weight
            rows = weight.flatten(1).double()
            weight.copy_((rows - rows @ (m_f - m_f @ m_r)).view_as(weight))
    return new


def importance(moment: Tensor, alpha: float) -> Tensor:
    """M = U diag(a s / ((a - 1) s + 1)) U^T of a second moment (d, d)."""
    values, directions = torch.linalg.eigh(moment)
    share = values.clamp(min=0) / values.clamp(min=0).sum().clamp(min=1e-30)
    scale = alpha * share / ((alpha - 1) * share + 1)
    return (directions * scale) @ directions.T


@torch.no_grad()
def input_moments(
    model: nn.Module, split: Split, layers: Sequence[str] | None
) -> dict[str, Tensor]:
    """Layer -> X^T X (d, d) in float64 of its inputs; d is Cin k^2 for convolutions."""
    modules = dict(model.named_modules())
    names = [n for n, m in modules.items() if isinstance(m, SUPPORTED)]
    names = names if layers is None else list(layers)
    moments: dict[str, Tensor] = {}

    def add(name: str, module: nn.Module, x: Tensor) -> None:
        rows = layer_rows(module, name, x).double()
        moments[name] = moments.get(name, 0) + rows.T @ rows

    hooks = [
        modules[name].register_forward_pre_hook(
            lambda m, args, name=name: add(name, m, args[0])
        )
        for name in names
    ]
    try:
        with evaluating(model):
            device = model_device(model)
            for x in split.inputs.split(pass_size(split.inputs, None)):
                model(channels_last(x.to(device)))
    finally:
        for hook in hooks:
            hook.remove()
    return {n: check_finite(m, f"the input of {n!r}") for n, m in moments.items()}


def layer_rows(module: nn.Module, name: str, x: Tensor) -> Tensor:
    """What the rows of a layer's weight are multiplied with: (rows, d)."""
    if isinstance(module, nn.Linear):
        return x.flatten(0, -2)
    if module.groups != 1 or module.padding_mode != "zeros":
        raise TypeError(f"grouped or padded convolution {name!r} cannot be projected")
    if isinstance(module.padding, str):
        raise TypeError(f"give convolution {name!r} its padding in numbers")
    patches = F.unfold(
        x, module.kernel_size, module.dilation, module.padding, module.stride
    )  # (B, d, positions)
    return patches.transpose(1, 2).flatten(0, 1)
