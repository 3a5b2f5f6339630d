"""Layer-wise relevance propagation that conserves, on any network torch.fx can trace.

The relevance of one logit is sent back layer by layer. BatchNorm is folded into the
convolution or linear layer before it (also across a max-pool), a residual sum is a
linear layer with weights one, pooling by the mean is a linear layer, pooling by the
maximum and everything that only moves values sends relevance where the values came
from, and one-to-one activations pass it on. What biases and the stabiliser take is
counted, so that

    relevance of the logit = relevance of the input + biases + stabiliser

must hold for every sample; the deviation is returned, and refused above a tolerance.
Sources: Bach et al. (2015), PLoS ONE 10(7); Montavon et al. (2019), "Layer-wise
relevance propagation: an overview".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from rlap.checks import (
    check_count,
    check_inputs,
    check_labels,
    check_level,
    check_one_of,
)
from rlap.network.layers import check_output, get_layer, model_device
from rlap.network.precision import own_precision
from rlap.unlearning.lrp.rules import Rule, per_sample
from rlap.unlearning.lrp.trace import Trace
from rlap.wording import in_brief

STARTS = ("logit", "one")
BIASES = ("absorb", "spread")


class NotConserved(RuntimeError):
    """Relevance was lost or made on the way: the result would mean nothing.

    >>> try:
    ...     found = relevance(model, data.inputs, tolerance=0.0)
    ... except NotConserved as error:
    ...     print(str(error)[:26])
    relevance is not conserved
    """


@dataclass
class Relevance:
    """Relevance of one logit for each of N samples.

    Attributes:
        layers: name of a layer -> relevance of its outputs (N, units, ...). A layer
            whose BatchNorm was folded into it stands for both.
        inputs: relevance of the network's input, (N, ...).
        logits: (N, C); target: (N,) the class whose logit was followed.
        start: (N,) relevance at that logit.
        bias, stabiliser: (N,) what was taken on the way.
        error: (N,) |start - inputs - bias - stabiliser| / |start|.

    >>> found = relevance(model, data.inputs[:4], bias="spread")
    >>> found.inputs.shape, found.received.round().tolist()
    (torch.Size([4, 3, 32, 32]), [1.0, 1.0, 1.0, 1.0])
    """

    layers: dict[str, Tensor]
    inputs: Tensor
    logits: Tensor
    target: Tensor
    start: Tensor
    bias: Tensor
    stabiliser: Tensor
    error: Tensor

    __repr__ = in_brief

    @property
    def received(self) -> Tensor:
        """(N,) share of the start that arrived at the input; 1 where nothing was taken
        by biases and stabiliser."""
        return per_sample(self.inputs) / self.start

    @property
    def amplification(self) -> Tensor:
        """(N,) sum of the input's |relevance| over |start|. Far above 1, large values
        of both signs cancel: they add up, and yet single ones mean little."""
        return per_sample(self.inputs.abs()) / self.start.abs()


@own_precision()
def relevance(
    model: nn.Module,
    inputs: Tensor,
    *,
    target: Tensor | int | None = None,
    rule: Rule | None = None,
    overrides: Mapping[str, Rule] | None = None,
    layers: Sequence[str] | None = None,
    bias: str = "absorb",
    start: str = "logit",
    tolerance: float = 1e-3,
    precision: torch.dtype = torch.float64,
    batch_size: int = 64,
) -> Relevance:
    """Relevance of every named layer's outputs for every sample.

    Args:
        model: any classifier that torch.fx can trace, (B, ...) -> logits (B, C);
            looked at in eval mode on a copy, and left exactly as it was.
        inputs: (N, ...).
        target: the class to follow, one for all or (N,); None takes the predicted one.
        rule: for every linear map; None is the epsilon rule.
        overrides: layer name -> another rule.
        layers: names of the layers to return; None returns every nn.Linear and
            convolution that runs once.
        bias: "absorb" lets biases take their share of relevance, "spread" gives it to
            the inputs in equal parts, so that the input receives all.
        start: "logit" starts from the logit itself, "one" from 1.
        tolerance: largest conservation error that is accepted.
        precision: of the computation; in float32, sums of large relevance of both
            signs can exceed the tolerance.
        batch_size: samples at a time.

    Raises ``TypeError`` for a network that cannot be followed (with the operation),
    ``KeyError`` for an unknown layer, ``ValueError`` for bad values and
    ``NotConserved`` when the error exceeds the tolerance. Source: see the module.

    >>> model = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 3))
    >>> found = relevance(model, torch.rand(4, 2), rule=Rule("gamma"))
    >>> found.layers["0"].shape, bool((found.error < 1e-3).all())
    (torch.Size([4, 5]), True)
    """
    check_inputs(inputs)
    check_level(tolerance, "tolerance")
    check_count(batch_size, "batch_size")
    check_one_of(bias, BIASES, "bias")
    check_one_of(start, STARTS, "start")
    for name in (*(layers or ()), *(overrides or ())):
        get_layer(model, name)
    if target is not None and not isinstance(target, Tensor):
        target = torch.full(
            (len(inputs),), check_count(target, "target", minimum=0), device="cpu"
        )
    if target is not None:
        target = check_labels(target, len(inputs), name="target")
    rules = {"": rule or Rule(), **(overrides or {})}
    device = model_device(model)
    trace = Trace(model, precision)
    parts = []
    # leaving inference mode, if the caller is in it: gradients are needed here
    with torch.inference_mode(False), torch.no_grad():
        for first in range(0, len(inputs), batch_size):
            rows = slice(first, first + batch_size)
            x = inputs[rows].to(device, precision, copy=True)
            y = None if target is None else target[rows].to(device)
            part = propagate(trace, x, y, rules, layers, bias == "spread", start)
            refuse_leaks(part, tolerance, first)
            parts.append(part)
    return joined(parts)


def propagate(
    trace: Trace,
    x: Tensor,
    target: Tensor | None,
    rules: Mapping[str, Rule],
    layers: Sequence[str] | None,
    spread: bool,
    start: str,
) -> Relevance:
    """One batch: forward through the trace, then back."""
    logits = check_output(trace.forward(x), "output")
    if not torch.allclose(logits, trace.model(x.clone()), 1e-3, 1e-4):
        raise TypeError("taken apart, this network gives other logits than as a whole")
    target = logits.argmax(1) if target is None else target
    check_labels(target, len(x), logits.shape[1], "target")
    first = torch.zeros_like(logits)
    chosen = logits.gather(1, target[:, None])
    first.scatter_(1, target[:, None], chosen if start == "logit" else 1.0)
    back = trace.backward(first, rules, layers, spread)
    begun = first.sum(dim=1)
    ended = per_sample(back.inputs) + back.bias + back.stabiliser
    error = (begun - ended).abs() / begun.abs().clamp(min=torch.finfo(x.dtype).tiny)
    return Relevance(
        back.layers, back.inputs, logits, target, begun, back.bias, back.stabiliser,
        error,
    )  # fmt: skip


def refuse_leaks(part: Relevance, tolerance: float, first: int) -> None:
    """Raise ``NotConserved`` unless every sample's error is within the tolerance."""
    bad = ~(part.error <= tolerance)  # NaN counts as bad
    if bool(bad.any()):
        worst = float(part.error[bad].nan_to_num(float("inf")).max())
        raise NotConserved(
            f"relevance is not conserved for {int(bad.sum())} of {len(bad)} samples "
            f"(from sample {first + int(bad.nonzero()[0])}): error up to {worst:.2g} "
            f"of the logit where {tolerance:.2g} is allowed; use a larger epsilon, "
            "another rule or a higher precision"
        )


def joined(parts: Sequence[Relevance]) -> Relevance:
    """Batches put together, in float32."""

    def whole(values: Iterable[Tensor]) -> Tensor:
        joined = torch.cat(list(values))
        return joined.float() if joined.is_floating_point() else joined

    _, *others = (f.name for f in fields(Relevance))
    layers = parts[0].layers
    return Relevance(
        {name: whole(part.layers[name] for part in parts) for name in layers},
        *(whole(getattr(part, name) for part in parts) for name in others),
    )
