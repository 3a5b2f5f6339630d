"""The losses of a batch: means, weighted where samples have weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Q = 0.7  # of the generalized loss, its authors'


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    smoothing: float = 0.0,
    targets: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of logits (B, C) with labels (B,) or, where there are any,
    targets (B, C); weighted by (B,) if given: sum(w * loss) / sum(w)."""
    goal = labels if targets is None else targets
    if weights is None:
        return F.cross_entropy(logits, goal, label_smoothing=smoothing)
    loss = F.cross_entropy(logits, goal, label_smoothing=smoothing, reduction="none")
    return weighted(loss, weights)


def generalized_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, q: float = Q
) -> Tensor:
    """Mean of (1 - p^q) / q, p the softmax of logits (B, C) at labels (B,); between
    cross-entropy (q towards 0) and the absolute error (q = 1). Weighted as above."""
    logp = -F.cross_entropy(logits, labels, reduction="none")
    loss = -torch.expm1(q * logp) / q
    return loss.mean() if weights is None else weighted(loss, weights)


def weighted(loss: Tensor, weights: Tensor) -> Tensor:
    """sum(w * loss) / sum(w)."""
    return (weights * loss).sum() / weights.sum().clamp(min=1e-12)  # a batch of zeros
