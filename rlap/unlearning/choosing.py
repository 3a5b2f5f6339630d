"""Which of the settings tried a method takes: one rule, on held-out samples.

The rule is fixed here, before the runs, and the same for all: the largest selectivity
on held-out samples (what the class loses in accuracy less what the others lose); of
equals the gentlest, which is why every curve starts there. Test samples play no part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rlap.data.base import Split
from rlap.training.inference import accuracy
from rlap.unlearning.common.splits import ForgettingData, Label, is_one_of, labels_of

RANDOM = "random"  # a selection of units that is a control

Row = dict[str, Any]


def selectivity(row: Mapping[str, float], start: Mapping[str, float]) -> float:
    """What the class ("forget") lost less what the others ("retain") lost."""
    return (start["forget"] - row["forget"]) - (start["retain"] - row["retain"])


def best(
    curve: Sequence[Row], start: Mapping[str, float], samplewise: bool = False
) -> Row:
    """The row of the largest selectivity, of equals the first; random units are a
    control and never chosen. ``start``: the accuracies before forgetting.
    ``samplewise`` the row whose accuracy on the samples ("forget") is nearest to that
    on samples never trained on ("retain")."""
    rows = [row for row in curve if row.get("select") != RANDOM]
    if samplewise:
        return min(rows, key=lambda row: round(abs(row["forget"] - row["retain"]), 9))
    return max(rows, key=lambda row: round(selectivity(row, start), 9))


@dataclass(frozen=True)
class Trial:
    """What settings are tried on.

    ``data``: what the network was trained on and is finally judged on; ``images``:
    held-out samples of the class, for a method that wants no training data; ``valid``:
    the same training data with the rest of what was held out in the place of the test
    samples.
    """

    data: ForgettingData
    images: Split
    valid: ForgettingData


def divided(
    learned: Split, held: Split, judge: Split, label: Label, images: int
) -> Trial:
    """The samples of a trial; its ``images`` are the first of the class in ``held``.

    ``judge`` takes the place of the test samples in ``data``. Raises ``ValueError``
    where of the class no more than the images are held out.
    """
    ours = is_one_of(held.labels, labels_of(label, held.num_classes)).nonzero()[:, 0]
    if len(ours) <= images:
        raise ValueError(
            f"of the class to forget {len(ours)} samples are held out: take fewer "
            f"than {len(ours)} images"
        )
    rest = torch.ones(len(held), dtype=torch.bool, device=held.labels.device)
    rest[ours[:images]] = False
    return Trial(
        ForgettingData.of(learned, judge, label),
        held.subset(ours[:images]),
        ForgettingData.of(learned, held.subset(rest), label),
    )


def both(model: nn.Module, data: ForgettingData) -> dict[str, float]:
    """Accuracy on the class and on the others, of the (test or held-out) samples."""
    return {
        "forget": accuracy(model, data.forget_test),
        "retain": accuracy(model, data.retain_test),
    }
