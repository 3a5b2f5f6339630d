"""ESC: what enters the last layer loses the directions in which the class lies."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlap.checks import check_inside
from rlap.data.base import Split
from rlap.unlearning.common.begin import begin
from rlap.unlearning.common.features import features

REACHED = 1e-10  # of the largest eigenvalue, below which one is rounding


def forget_esc(
    model: nn.Module,
    forget: Split,
    retain: Split | None = None,
    *,
    share: float = 0.03,
) -> nn.Module:
    """Project the features onto what the class uses least: a new model.

    With U the left singular vectors of the forget set's features (d, N), the first
    ``share`` of d of them, at least one, are removed: x becomes (I - U U^T) x. Nothing
    is centred and the retain set is not looked at. The projection stands before the
    last layer as a frozen nn.Linear of its own, as the authors have it; multiplied into
    that layer's weight it would give the same answers and leave the features alone, as
    would whoever takes it out again.

    Raises ``TypeError`` without a last linear layer, ``ValueError`` for a ``share``
    outside (0, 1). Source: Lee et al. (CVPR 2025), ESC without training; 0.03 is the
    default of their code.

    >>> model, split = nn.Linear(2, 3), Split(torch.rand(9, 2), torch.arange(9) % 3)
    >>> forget_esc(model, split.subset([2, 5, 8]))[0]
    Linear(in_features=2, out_features=2, bias=False)
    """
    start = begin(model, forget, retain)
    check_inside(share)
    last = start.last_linear()
    head = start.model.get_submodule(last)
    erased = first_directions(features(start.model, forget, last), share)
    width = head.in_features
    erase = nn.utils.skip_init(nn.Linear, width, width, bias=False)  # draws nothing
    with torch.no_grad():
        erase.weight.copy_(torch.eye(width, device="cpu") - erased @ erased.T)
    erase = erase.requires_grad_(False).to(head.weight)
    together = nn.Sequential(erase, head).eval()
    if not last:
        return together
    parent, _, name = last.rpartition(".")
    setattr(start.model.get_submodule(parent), name, together)
    return start.model


def first_directions(x: Tensor, share: float) -> Tensor:
    """(d, k) the first right singular vectors of rows (N, d): a share of d, at least
    one, and none that the rows do not reach; float64."""
    values, columns = torch.linalg.eigh(x.double().T @ x.double())  # ascending
    there = int((values > REACHED * values[-1]).sum())
    return columns[:, -max(1, min(int(share * len(values)), there)) :]
