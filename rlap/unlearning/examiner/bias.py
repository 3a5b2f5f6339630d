"""How much of a forgotten class comes back by one number, the bias of its logit?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlap.data.base import Split
from rlap.metrics import auroc
from rlap.training.inference import predict
from rlap.unlearning.common.splits import ForgettingData, is_one_of


@dataclass(frozen=True)
class GivenBack:
    """What is answered when the class's logit is shifted.

    ``shift``: the number added to it; ``forget``, ``retain``: accuracy on the class's
    and the others' test samples then; ``auc``: how well the class's logit less the
    largest other one tells the two apart, whatever the shift (0.5: not at all).
    """

    shift: float
    forget: float
    retain: float
    auc: float


def given_back(
    model: nn.Module,
    data: ForgettingData,
    valid: ForgettingData,
    *,
    answer: Callable[[str], Tensor] | None = None,
) -> GivenBack:
    """Fit the bias of the class's logit anew, and nothing else, and ask again.

    The shift is the one with the best accuracy on the test samples of ``valid``, each
    class counted alike, of equals the least; what counts is what comes of it on those
    of ``data``. Where an edit took the class's answer and left all that it was made
    from, the class is back at no cost; where it took the evidence, no shift helps.

    Args:
        answer: gives the logits for "forget_test" and "retain_test" of ``data`` where
            they are known.

    >>> split = Split(torch.eye(3).repeat(4, 1), torch.arange(12) % 3)
    >>> data, net = ForgettingData.of(split, split, 1), nn.Linear(3, 3)
    >>> _ = net.weight.data.copy_(torch.eye(3)), net.bias.data[1].fill_(-9)
    >>> given_back(net, data, data).forget
    1.0
    """
    labels = data.labels
    known = answer or (lambda part: predict(model, getattr(data, part).inputs))
    tried = (
        Margins.of(predict(model, split.inputs), split, labels)
        for split in (valid.forget_test, valid.retain_test)
    )
    chosen = best_shift(*tried, len(labels) / data.num_classes)
    ours, theirs = (
        Margins.of(known(part), getattr(data, part), labels)
        for part in ("forget_test", "retain_test")
    )
    score = torch.cat([ours.margin, theirs.margin])
    truth = torch.arange(len(score), device="cpu") < len(ours.margin)
    area = auroc(score, truth).value
    return GivenBack(chosen, ours.right(chosen), theirs.right(chosen), area)


@dataclass(frozen=True)
class Margins:
    """Of samples (N,): the largest logit of the classes to forget less the largest
    other one, and whether the better kind of answer would be right, by kind; float64,
    for a mask's logit is -1e9."""

    margin: Tensor
    right_ours: Tensor
    right_theirs: Tensor

    @classmethod
    def of(cls, logits: Tensor, split: Split, labels: tuple[int, ...]) -> Margins:
        """From logits (N, C)."""
        z, y = logits.cpu().double(), split.labels.cpu()
        ours = is_one_of(torch.arange(z.shape[1]), labels)
        (top, first), (other, second) = (
            z.masked_fill(~kind, -torch.inf).max(1) for kind in (ours, ~ours)
        )
        return cls(top - other, first == y, second == y)

    def right(self, shift: float) -> float:
        """Accuracy when the classes' logits are shifted."""
        called = self.margin + shift > 0
        hits = torch.where(called, self.right_ours, self.right_theirs)
        return hits.double().mean().item()


def best_shift(ours: Margins, theirs: Margins, share: float) -> float:
    """The shift of the best accuracy where ``share`` of the samples are ours, of equals
    the least in size: it changes only where a sample's margin is passed."""
    edges = torch.cat([ours.margin, theirs.margin]).unique()
    between = -torch.cat([edges[:1] - 1, (edges[1:] + edges[:-1]) / 2, edges[-1:] + 1])
    shifts = torch.cat([between, between.new_zeros(1)]).tolist()
    worth = [
        round(share * ours.right(b) + (1 - share) * theirs.right(b), 9) for b in shifts
    ]
    most = max(worth)
    return min((b for b, w in zip(shifts, worth, strict=True) if w == most), key=abs)
