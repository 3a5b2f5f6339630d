"""Predictions in batches, without a trace left on the model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rlap.checks import check_finite, check_inputs
from rlap.data.base import Split, check_split
from rlap.network.layers import (
    check_logits,
    evaluating,
    model_device,
    pass_size,
    placing,
)
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
    """
    check_inputs(inputs)
    batch_size = pass_size(inputs, batch_size)
    device = model_device(model)
    autocast = autocast_for(resolve_precision(precision, model, device), device)
    place = placing(model, inputs)
    with evaluating(model), autocast():
        batches = inputs.split(batch_size)
        logits = [check_logits(model(place(batch))).float() for batch in batches]
    return torch.cat(logits)


def accuracy(
    model: nn.Module,
    split: Split,
    *,
    batch_size: int | None = None,
    precision: str = "fp32",
) -> float:
    """Share of ``split`` that the model classifies as labelled, in [0, 1]."""
    inputs = check_split(split).fixed_inputs()
    logits = predict(model, inputs, batch_size=batch_size, precision=precision)
    check_finite(logits, "the model's logits")
    return (logits.argmax(1) == split.labels.to(logits.device)).float().mean().item()


def autocast_for(precision: str, device: torch.device) -> Callable:
    """A factory of autocast contexts: bfloat16 for "bf16", nothing for "fp32"."""
    return lambda: torch.autocast(
        device.type, torch.bfloat16, enabled=precision == "bf16"
    )
