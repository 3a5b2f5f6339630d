"""The data that forgetting is judged on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlap.checks import check_number
from rlap.data.base import Split, stratified_indices
from rlap.unlearning.common import split_class


@dataclass(frozen=True)
class ForgettingData:
    """Training and test samples of the class to forget and of all others.

    ``forget`` and ``retain`` were trained on; ``forget_test`` and ``retain_test`` are
    for the final account only. To choose settings, hold samples out of the training set
    first (``hold_out``) and take those for the test.
    """

    label: int
    forget: Split
    retain: Split
    forget_test: Split
    retain_test: Split

    @classmethod
    def of(cls, train: Split, test: Split, label: int) -> ForgettingData:
        """Divide both splits; ``ValueError`` when the class is absent from one."""
        return cls(label, *split_class(train, label), *split_class(test, label))


def hold_out(split: Split, share: float, seed: int = 0) -> tuple[Split, Split]:
    """(the rest, a stratified ``share`` of the samples), for choosing settings.

    Raises ``ValueError`` when either would be empty.
    """
    if not 0 < check_number(share, "share") < 1:
        raise ValueError(f"share must lie inside 0..1, not {share}")
    chosen = stratified_indices(split.labels, round(share * len(split)), seed)
    held = torch.zeros(len(split), dtype=torch.bool)
    held[chosen] = True
    held = held.to(split.inputs.device)
    return split.subset(~held), split.subset(held)
