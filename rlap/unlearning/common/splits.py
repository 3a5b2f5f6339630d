"""The data of unlearning: what is to be forgotten, what retained, what judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlap.checks import check_count, check_inside, check_seed
from rlap.data.base import Split, check_split, stratified_indices
from rlap.wording import in_brief

Label = int | Sequence[int]  # a class, or several to be forgotten together


def labels_of(label: Label, classes: int) -> tuple[int, ...]:
    """The classes to forget, in order; ``TypeError``/``ValueError`` for anything that
    is no class of a model with so many ``classes``, and for none."""
    found = [label] if not isinstance(label, Sequence) else label
    checked = {
        check_count(each, "the class to forget", minimum=0, maximum=classes - 1)
        for each in found
    }
    if not checked or isinstance(label, str):
        raise ValueError(f"name the class to forget, or several, not {label!r}")
    return tuple(sorted(checked))


def is_one_of(labels: Tensor, chosen: Sequence[int]) -> Tensor:
    """(N,) bool: which of ``labels`` are among ``chosen``."""
    return torch.isin(labels, torch.tensor(chosen, device=labels.device))


def split_class(split: Split, label: Label) -> tuple[Split, Split]:
    """The samples of class ``label`` (forget set) and all others (retain set).

    ``label`` may be several classes. Raises ``ValueError`` when one is out of range or
    absent, or nothing else is there.

    >>> forget, retain = split_class(Split(torch.rand(6, 2), torch.arange(6) % 3), 1)
    >>> len(forget), len(retain)
    (2, 4)
    """
    labels = labels_of(label, split.num_classes)
    for each in labels:
        if not (split.labels == each).any():
            raise ValueError(f"class {each} does not occur: there is nothing to forget")
    chosen = is_one_of(split.labels, labels)
    if chosen.all():
        named = " ".join(map(str, labels))
        raise ValueError(f"all samples are of class {named}: nothing would be retained")
    return split.subset(chosen), split.subset(~chosen)


def split_samples(split: Split, chosen: Tensor) -> tuple[Split, Split]:
    """The ``chosen`` samples (forget set), whatever their classes, and all others.

    ``chosen``: (N,) bool (or uint8, 0 and 1), or indices. Raises ``ValueError`` for
    none, for all and for indices that are out of range or there twice, ``TypeError``
    for anything else.

    >>> split = Split(torch.rand(6, 2), torch.arange(6) % 3)
    >>> forget, retain = split_samples(split, torch.tensor([0, 1]))
    >>> len(forget), len(retain)
    (2, 4)
    """
    n = len(split)
    if (
        not isinstance(chosen, Tensor)
        or chosen.dim() != 1
        or chosen.is_floating_point()
    ):
        raise TypeError(
            "the samples to forget must be a tensor of indices, or (N,) bool"
        )
    # as indices these would name samples twice, or all
    if chosen.dtype == torch.uint8 and len(chosen) == n and int(chosen.max()) <= 1:
        chosen = chosen.bool()
    if chosen.dtype != torch.bool:
        index = chosen.cpu().long()  # torch takes uint8 for a mask
        chosen = torch.zeros(n, dtype=torch.bool, device="cpu")
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < n:
            raise ValueError(f"the samples to forget must be indices from 0 to {n - 1}")
        chosen[index] = True
        if int(chosen.sum()) != len(index):
            raise ValueError("a sample to forget is named twice")
    if len(chosen) != n or not 0 < int(chosen.sum()) < n:
        raise ValueError(
            f"{int(chosen.sum())} of {len(chosen)} samples are to be forgotten, of a "
            f"split of {n}: take some and not all"
        )
    chosen = chosen.to(split.inputs.device)
    return split.subset(chosen), split.subset(~chosen)


@dataclass(frozen=True)
class ForgettingData:
    """Training and test samples of the class to forget and of all others.

    ``forget`` and ``retain`` were trained on; ``forget_test`` and ``retain_test`` are
    for the final account only. To choose settings, hold samples out of the training set
    first (``hold_out``) and take those for the test. ``label`` may be several classes;
    ``labels`` has them as a tuple. Of samples to forget, whatever their classes
    (``of_samples``), it is empty, and both test sets are all samples that were never
    trained on.

    Raises ``TypeError`` for what are no splits, ``ValueError`` where a forget set holds
    another class, or a retain set one of these.

    >>> split = Split(torch.rand(6, 2), torch.arange(6) % 3)
    >>> ForgettingData.of(split, split, label=2).forget.labels
    tensor([2, 2])
    """

    label: Label
    forget: Split
    retain: Split
    forget_test: Split
    retain_test: Split

    __repr__ = in_brief

    def __post_init__(self) -> None:
        parts = ("forget", "forget_test", "retain", "retain_test")
        for part in parts:
            check_split(getattr(self, part), part)
        for part in () if self.samplewise else parts:
            labels = getattr(self, part).labels
            ours, told = is_one_of(labels, self.labels), "which is to be forgotten"
            if part.startswith("forget"):
                ours, told = ~ours, f"and {list(self.labels)} is to be forgotten"
            if ours.any():
                raise ValueError(f"{part} holds class {int(labels[ours][0])}, {told}")

    @classmethod
    def of(cls, train: Split, test: Split, label: Label) -> ForgettingData:
        """Divide both splits; ``ValueError`` when the class is absent from one."""
        return cls(label, *split_class(train, label), *split_class(test, label))

    @classmethod
    def of_samples(cls, train: Split, test: Split, chosen: Tensor) -> ForgettingData:
        """The ``chosen`` samples of ``train`` are to be forgotten: ``split_samples``.

        >>> split = Split(torch.rand(6, 2), torch.arange(6) % 3)
        >>> ForgettingData.of_samples(split, split, torch.tensor([0, 1])).samplewise
        True
        """
        return cls((), *split_samples(train, chosen), test, test)

    @property
    def samplewise(self) -> bool:
        """Whether samples are to be forgotten, and no class."""
        return self.label == ()

    @property
    def labels(self) -> tuple[int, ...]:
        """The classes to forget; none where samples are."""
        if self.samplewise:
            return ()
        return labels_of(self.label, max(self.forget.num_classes, 1))

    @property
    def num_classes(self) -> int:
        """C: the most that any of the parts knows of; a forget set made by hand may
        know of no class beyond its own."""
        parts = (self.forget, self.retain, self.forget_test, self.retain_test)
        return max(split.num_classes for split in parts)

    @property
    def share(self) -> float:
        """What is to be forgotten, of all that was trained on."""
        return len(self.forget) / (len(self.forget) + len(self.retain))


def hold_out(split: Split, share: float, seed: int = 0) -> tuple[Split, Split]:
    """(the rest, a stratified ``share`` of the samples), for choosing settings.

    Raises ``ValueError`` when either would be empty, or hold fewer samples than there
    are classes.

    >>> rest, held = hold_out(Split(torch.rand(30, 2), torch.arange(30) % 3), 0.2)
    >>> len(rest), held.labels.bincount()
    (24, tensor([2, 2, 2]))
    """
    size = round(check_inside(share) * len(split))
    if size < (present := len(split.labels.unique())) or size == len(split):
        raise ValueError(
            f"a share of {share:g} of {len(split)} samples is {size}, and {present} "
            "classes want one each, with some left: give more, or another share"
        )
    chosen = stratified_indices(split.labels, size, seed)
    held = torch.zeros(len(split), dtype=torch.bool, device="cpu")
    held[chosen] = True
    held = held.to(split.inputs.device)
    return split.subset(~held), split.subset(held)


def together(
    splits: Sequence[Split], labels: Sequence[Tensor] | None = None, classes: int = 0
) -> Split:
    """One split of several, with other labels where they are given, and of at least so
    many ``classes``."""
    labels = labels or [split.labels for split in splits]
    device = splits[0].inputs.device
    return Split(
        torch.cat([split.inputs.to(device) for split in splits]),
        torch.cat([each.to(device) for each in labels]),
        splits[0].normalisation,
        max(classes, *(split.num_classes for split in splits)),
    )


def some(split: Split, samples: int | None, seed: int) -> Split:
    """At most ``samples`` of a split, drawn from ``seed``."""
    if samples is None or check_count(samples, "samples") >= len(split):
        return split
    generator = torch.Generator().manual_seed(check_seed(seed))
    return split.subset(
        torch.randperm(len(split), generator=generator, device="cpu")[:samples]
    )
