"""Predictions in batches, without a trace left on the model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlap.checks import check_finite, check_model
from rlap.data.base import Split, check_split
from rlap.network.layers import check_logits, model_device, reading
from rlap.network.strips import strips_for
from rlap.training.recipe import resolve_precision


@torch.no_grad()
def predict(
    model: nn.Module,
    inputs: Tensor,
    *,
    batch_size: int | None = None,
    precision: str = "fp32",
) -> Tensor:
    """Logits (N, C) in float32, on the model's device, in eval mode.

    The model, its mode and the global random state are left as they were. Raises
    ``TypeError`` for a model that returns no logits, or has another precision.

    >>> rlap.predict(model, data.inputs).shape
    torch.Size([120, 10])
    """
    check_model(model)
    precision = resolve_precision(precision, model, model_device(model))
    passes = reading(model, inputs, batch_size=batch_size, precision=precision)
    with passes as batches, strips_for(model, precision):
        return torch.cat([check_logits(model(x), len(x)).float() for x in batches])


def accuracy(
    model: nn.Module,
    split: Split,
    *,
    batch_size: int | None = None,
    precision: str = "fp32",
) -> float:
    """Share of ``split`` that the model classifies as labelled, in [0, 1].

    >>> 0 <= accuracy(model, data) <= 1
    True
    """
    inputs = check_split(split).fixed_inputs()
    logits = predict(model, inputs, batch_size=batch_size, precision=precision)
    check_finite(logits, "the model's logits")
    hits = logits.argmax(1) == split.labels.to(logits.device)
    # double: a float32 mean is off by 1e-8, and differences are held against budgets
    return hits.cpu().double().mean().item()
