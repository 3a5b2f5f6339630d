"""Baselines without training: a masked logit, and dampened weights (SSD)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from rlap.checks import check_count, check_finite, check_positive
from rlap.data.base import Split
from rlap.network.copying import copy_of
from rlap.network.layers import evaluating, model_device
from rlap.network.modes import check_own_weights, trained_parameters
from rlap.unlearning.common.begin import MASKED, begin
from rlap.unlearning.common.splits import ForgettingData, some, together

MAX_GRADIENTS = 2**25  # numbers in the gradients held at once
# of the data, from which on few weights matter far more for a class than for all:
# I_forget is at most I_all over the share
LARGE_SHARE = 0.2


def forget_logit_mask(
    model: nn.Module, forget: Split, retain: Split | None = None
) -> nn.Module:
    """Never answer the class: its output weights become 0 and its bias -1e9.

    The probabilities of all other classes are exactly the model's own, renormalised.
    No data are used but the label. Raises ``TypeError`` without a last linear layer
    or for one whose weight is computed from other parameters. Source: the trivial
    control (weight filtration).

    >>> split = Split(torch.rand(6, 2), torch.arange(6) % 3)
    >>> new = forget_logit_mask(nn.Linear(2, 3), split.subset([2, 5]))
    >>> new(split.inputs).softmax(1)[:, 2].tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    start = begin(model, forget, retain)
    last, labels = start.last_linear(), list(start.labels)
    layer = start.model.get_submodule(last)
    check_own_weights(layer, last)
    if layer.bias is None:
        layer.bias = nn.Parameter(layer.weight.new_zeros(layer.out_features))
    with torch.no_grad():
        layer.weight[labels] = 0
        layer.bias[labels] = MASKED
    return start.model


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
    samplewise: bool = False,
) -> nn.Module:
    """Selective synaptic dampening: shrink weights that matter most for the class.

    With I the importance (the mean over batches of the squared gradient of the CE) for
    the forget set and for all data, every weight with I_forget > alpha I_all is
    multiplied by min(dampening I_all / I_forget, 1).

    Args:
        alpha, dampening: 10 and 1 in the authors' code.
        fisher_batch: samples of a batch, as in the authors' code; 1 gives the diagonal
            of the empirical Fisher information. All data come class by class there,
            the class to forget last, and so they do here: nearly every batch is of one
            class, and gradients of different classes do not cancel. A class that is
            a share q of the data then has I_forget <= I_all / q, or little more: among
            ten equal classes alpha = 10 finds next to nothing. ``samplewise`` they
            come as they are, which the authors' code shuffles.
        samples: at most so many of each set, drawn from ``seed``; None takes all.

    Raises ``TypeError`` without a retain set, ``ValueError`` for settings out of range
    and where all parameters are frozen. Source: Foster et al. (AAAI 2024).

    >>> model, split = nn.Linear(2, 3), Split(torch.rand(9, 2), torch.arange(9) % 3)
    >>> forget_ssd(model, split.subset([2, 5, 8]), split.subset([0, 1, 3]), alpha=1.0)
    Linear(in_features=2, out_features=3, bias=True)
    """
    begin(model, forget, retain, both=True, samplewise=samplewise)
    check_positive(alpha, "alpha")
    check_positive(dampening, "dampening")
    given = {"fisher_batch": fisher_batch, "samples": samples, "seed": seed}
    found = importances(model, forget, retain, **given, samplewise=samplewise)
    return dampened(model, found, alpha=alpha, dampening=dampening)


def ssd_hint(data: ForgettingData) -> str:
    """Why SSD fails on a class that is much of the data, and what does not; else ""."""
    if data.samplewise or data.share < LARGE_SHARE:
        return ""
    return (
        "SSD wants weights that matter far more for it than for all data, of which it "
        f"is {data.share:.0%}; method='damp' does without"
    )


@dataclass(frozen=True)
class Importances:
    """Of each weight: for the class to forget, and for all data (name -> tensor)."""

    forget: dict[str, Tensor]
    whole: dict[str, Tensor]


def importances(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    fisher_batch: int = 64,
    samples: int | None = None,
    seed: int = 0,
    samplewise: bool = False,
) -> Importances:
    """What SSD has to know, whatever its alpha; arguments as in ``forget_ssd``."""
    forget, retain = some(forget, samples, seed), some(retain, samples, seed)
    by_class = retain
    if not samplewise:
        by_class = retain.subset(retain.labels.argsort(stable=True))
    return Importances(
        importance_of_weights(model, forget, fisher_batch),
        importance_of_weights(model, together([by_class, forget]), fisher_batch),
    )


@torch.no_grad()
def dampened(
    model: nn.Module,
    found: Importances,
    *,
    alpha: float = 10.0,
    dampening: float = 1.0,
) -> nn.Module:
    """A new model with the weights dampened that the importances single out."""
    check_positive(alpha, "alpha")
    check_positive(dampening, "dampening")
    new = copy_of(model).eval()
    for name, of_class in found.forget.items():
        factor = dampening * found.whole[name] / of_class.clamp(min=1e-30)
        chosen = of_class > alpha * found.whole[name]
        parameter = new.get_parameter(name)
        parameter.mul_(torch.where(chosen, factor.clamp(max=1), 1.0))
    return new


def importance_of_weights(
    model: nn.Module, split: Split, batch_size: int
) -> dict[str, Tensor]:
    """Mean over batches, in the order of the samples, of the squared gradient of the
    mean CE, in eval mode, by trainable parameter. Batches are weighted by their
    samples."""
    check_count(batch_size, "fisher_batch")
    model = copy_of(model)  # one that keeps what it computes would keep vmap's tensors
    live = trained_parameters(model)
    total = {name: torch.zeros_like(p) for name, p in live.items()}
    device, numbers = model_device(model), sum(p.numel() for p in live.values())
    # batches together: bounds the samples and the gradients held in memory
    at_once = max(1, min(128 // batch_size, MAX_GRADIENTS // numbers))
    order = torch.arange(len(split), device="cpu")
    whole = len(split) // batch_size * batch_size
    full = order[:whole].view(-1, batch_size)
    groups = [*full.split(at_once)] if whole else []
    groups += [order[None, whole:]] if whole < len(split) else []
    gradients = gradients_together
    with evaluating(model):
        for index in groups:  # (batches, samples)
            index = index.to(split.inputs.device)
            x, y = split.inputs[index].to(device), split.labels[index].to(device)
            try:
                found = gradients(model, x.clone(), y)  # it may work in place on x
            except RuntimeError:
                if gradients is gradients_in_turn:
                    raise
                # vmap has no rule for some layers, nn.GRU and nn.RNN among them
                gradients = gradients_in_turn
                found = gradients(model, x, y)
            for name, g in found.items():
                total[name] += index.shape[1] * g.square().sum(0)
    for name, sums in total.items():
        check_finite(sums.view(-1), name)  # a scale may have no dimension
    return {name: sums / len(split) for name, sums in total.items()}


def gradients_together(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Gradients (batches, ...) of the mean CE of each of several batches of inputs
    (batches, samples, ...), by trainable parameter, all at once.

    Attention is computed by its plain formula: vmap has no rule for the fused kernels,
    takes them batch by batch and complains.
    """
    live = {n: p.detach() for n, p in trained_parameters(model).items()}
    fixed = {n: p.detach() for n, p in model.named_parameters() if n not in live}
    fixed |= dict(model.named_buffers())

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, {**parameters, **fixed}, (x,)), y)

    with sdpa_kernel(SDPBackend.MATH):
        return vmap(grad(loss), in_dims=(None, 0, 0))(live, x, y)


def gradients_in_turn(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The same, a batch at a time, for any network that autograd takes."""
    live = trained_parameters(model)
    given = {"allow_unused": True, "materialize_grads": True}
    with torch.enable_grad():
        rows = [
            torch.autograd.grad(F.cross_entropy(model(a), b), [*live.values()], **given)
            for a, b in zip(x, y, strict=True)
        ]
    stacked = (torch.stack(found) for found in zip(*rows, strict=True))
    return dict(zip(live, stacked, strict=True))
