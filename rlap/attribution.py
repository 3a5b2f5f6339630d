"""Stage 1: how much each unit of a late layer contributes to the decision.

For a layer with pre-activations z and logits f, the paper's attribution is

    A_j(x) = | max_c  sum_p  df_c/dz_jp * z_jp |        (p: positions; one for Linear)

computed in eval mode by one batched backward pass through the head alone: the hook on
the layer cuts the graph there, so no gradient reaches the backbone and there is no loop
over classes. Where the head is Linear -> ReLU -> Linear -> logits (recognised from
what actually ran, not from class names) the gradient is known: df_c/dz_j =
W[c,j] 1[z_j>0], hence A_j = |max_c W[c,j]| ReLU(z_j), a rescaled activation.
Source: paper section 3.2.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlap.checks import check_inputs, check_labels, check_one_of
from rlap.network.captum import METHODS as CAPTUM
from rlap.network.captum import captum_attribution, modular
from rlap.network.head import Head, batched_gradient, connected, run_head
from rlap.network.layers import (
    get_layer,
    pass_size,
    positions,
    reading,
    stacked,
    unit_sum,
    usable,
)
from rlap.wording import in_brief

METHODS = (
    "gradient_x_activation",  # maximum over classes: the paper's
    "gradient_x_activation_predicted",  # of the predicted class's logit
    "gradient_x_activation_label",  # of the given label's logit
    "loss_gradient_x_activation",  # of the cross-entropy on the given label
    "activation",  # ReLU of the pre-activation, no gradient
    *CAPTUM,
)
NEEDS_LABELS = ("gradient_x_activation_label", "loss_gradient_x_activation")
MAX_ELEMENTS = 2**24  # of one batched gradient (classes, B, ...): bounds the memory


@dataclass(frozen=True)
class Scan:
    """What one pass over the data saw, each on the model's device in float32.

    ``attribution`` (N, d), summed over positions; ``activations`` (N, d):
    pre-activations, which the paper's regression is on, averaged over positions, so
    that layers of any size give numbers alike; ``logits`` (N, C).

    >>> seen = rlap.scan(model, data.inputs, layer="fc")
    >>> seen.attribution.shape, seen.activations.shape, seen.logits.shape
    (torch.Size([120, 16]), torch.Size([120, 16]), torch.Size([120, 10]))
    """

    attribution: Tensor
    activations: Tensor
    logits: Tensor

    __repr__ = in_brief


def attribute(
    model: nn.Module,
    inputs: Tensor,
    *,
    layer: str,
    method: str = "gradient_x_activation",
    labels: Tensor | None = None,
    batch_size: int | None = None,
    fast: bool = True,
) -> Tensor:
    """Attribution of every unit of ``layer`` for every sample: (N, ...) -> (N, d).

    Args:
        model: any classifier, (B, ...) -> logits (B, C); left exactly as it was.
        inputs: (N, ...).
        layer: dotted name of an nn.Linear or a convolution.
        method: one of ``METHODS``; the captum ones attribute the predicted class, or
            the given label when ``labels`` is given.
        labels: (N,), needed by the two methods that look at the given label.
        fast: use the closed form where the head allows it (the result is the same).

    Raises ``KeyError``/``TypeError`` for an unusable layer, ``ValueError`` for NaN
    inputs, an unknown method or missing labels. Source: paper section 3.2.1.

    >>> rlap.attribute(model, data.inputs, layer="fc").shape
    torch.Size([120, 16])
    """
    given = {"layer": layer, "method": method, "labels": labels}
    given |= {"batch_size": batch_size, "fast": fast}
    with scanning(model, inputs, **given) as batches:
        return stacked(([scores] for scores, _, _ in batches), len(inputs))[0]


def scan(
    model: nn.Module,
    inputs: Tensor,
    *,
    layer: str,
    method: str = "gradient_x_activation",
    labels: Tensor | None = None,
    batch_size: int | None = None,
    fast: bool = True,
) -> Scan:
    """``attribute``, with the pre-activations and logits of the same single pass.

    >>> seen = rlap.scan(model, data.inputs, layer="fc")
    >>> bool((seen.attribution >= 0).all()), tuple(seen.logits.shape)
    (True, (120, 10))
    """
    given = {"layer": layer, "method": method, "labels": labels}
    given |= {"batch_size": batch_size, "fast": fast}
    with scanning(model, inputs, **given) as batches:
        return Scan(*stacked(batches, len(inputs)))


@contextmanager
def scanning(
    model: nn.Module,
    inputs: Tensor,
    *,
    layer: str,
    method: str,
    labels: Tensor | None,
    batch_size: int | None,
    fast: bool,
) -> Iterator[Iterator[tuple[Tensor, Tensor, Tensor]]]:
    """The fields of a ``Scan`` a batch at a time, for the time of a block."""
    get_layer(model, layer)
    check_inputs(inputs)
    check_one_of(method, METHODS, "attribution")
    if labels is None and method in NEEDS_LABELS:
        raise ValueError(f"attribution {method!r} needs labels=(N,)")
    size = pass_size(inputs, batch_size)
    given: Iterable[Tensor | None] = repeat(None)
    if labels is not None:
        given = check_labels(labels, len(inputs)).split(size)
    if method in CAPTUM:  # its DeepLift leaves attributes behind: give it a copy
        model = modular(model)
    # leaving inference mode, if the caller is in it: gradients are needed here
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        reading(model, inputs, batch_size=size) as batches,
    ):
        pairs = zip(batches, given)  # noqa: B905 (there may be no labels)
        yield (scan_batch(model, x, y, layer, method, fast) for x, y in pairs)


def scan_batch(
    model: nn.Module,
    x: Tensor,
    labels: Tensor | None,
    layer: str,
    method: str,
    fast: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The fields of a ``Scan`` for one batch (B, ...), ready for the model."""
    module = get_layer(model, layer)
    head = run_head(model, x, layer)
    if labels is not None:
        labels = usable(labels).to(x.device)
        check_labels(labels, len(x), head.logits.shape[1])
    if method in CAPTUM:
        target = head.logits.argmax(1) if labels is None else labels
        scores = captum_attribution(model, x, layer, method, target)
    else:
        scores = head_attribution(head, module, method, labels, fast)
    z = head.z.detach()
    mean = unit_sum(z, module) / positions(z, module)
    return scores.float(), mean.float(), head.logits.detach().float()


def head_attribution(
    head: Head, module: nn.Module, method: str, labels: Tensor | None, fast: bool
) -> Tensor:
    """The attribution (B, d) of one batch by one of our own methods."""
    z = head.z.detach()
    if method == "activation":
        return unit_sum(z.relu(), module)
    if method == "gradient_x_activation":
        if fast and head.linear is not None:
            return closed_form(z, head.linear.weight.detach())
        return max_over_classes(head, module).abs()
    if method == "loss_gradient_x_activation":
        target = F.cross_entropy(head.logits, labels, reduction="sum")
    else:
        chosen = {
            "gradient_x_activation_predicted": head.logits.argmax(1),
            "gradient_x_activation_label": labels,
        }[method]
        target = head.logits.gather(1, chosen[:, None]).sum()
    (gradient,) = torch.autograd.grad(target, head.z, allow_unused=True)
    return unit_sum(connected(gradient, head) * z, module).abs()


def closed_form(z: Tensor, weight: Tensor) -> Tensor:
    """|max_c W[c,j]| ReLU(z_j): z (B, d), weight (C, d) -> (B, d)."""
    return z.relu() * weight.amax(dim=0).abs()


def max_over_classes(head: Head, module: nn.Module) -> Tensor:
    """max_c of the units' gradient x activation, (B, d), all classes at once."""
    z, logits = head.z, head.logits
    classes = logits.shape[1]
    at_once = max(1, min(classes, MAX_ELEMENTS // max(1, z.numel())))
    best = None
    for chunk in torch.eye(classes, device=z.device, dtype=logits.dtype).split(at_once):
        # one row of the identity a class, for every sample: (k, B, C)
        seeds = chunk[:, None, :].expand(-1, *logits.shape)
        gradient = connected(batched_gradient(logits, z, seeds), head)  # (k, B, ...)
        product = unit_sum_batched(gradient * z.detach(), module).amax(dim=0)
        best = product if best is None else torch.maximum(best, product)
    return best


def unit_sum_batched(values: Tensor, module: nn.Module) -> Tensor:
    """``unit_sum`` for (k, B, ...) values: (k, B, d)."""
    k, b = values.shape[:2]
    return unit_sum(values.flatten(0, 1), module).view(k, b, -1)
