"""What is a mistake of the network, and what a wrong label.

Where a network takes similar classes for one another its surest samples have other
labels, as if these were wrong. But it knows which half of the classes a sample is of:
labels beyond that are wrong for certain.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rlap.repair.labels.posterior import (
    ANCHORS,
    SURELY,
    SURER,
    Transition,
    anchors,
    confident_joint,
)

# samples of the median class, below which nothing is said where the surest of them have
# often other labels:
PLENTY_OF_CLASS = 500
IGNORANT = 0.25  # share of those that do,
RISING = 0.1  # and by how much larger it is among all samples,
MOST = 0.5  # or so large that this alone says so
LESS_SURE = 3.0  # times what surer samples gain, that the surest may still lack
CLASSES_FOR_HALVES = 4  # the fewest of which the likelier half is a set
KNOWS_NOTHING = 0.3  # share of the samples that a network knows the class of, at which
KNOWS_ENOUGH = 0.55  # what it seems to see is all its own mistakes; and none of it is
NEARLY_HALF = 0.25  # share of a class that seems mislabelled, from which half may be
NONE_SEEN = 3.0  # of n: the share that n samples without one still allow, by 95 %


class Halves(NamedTuple):
    """Labels that are not among the likelier half of the classes: of the samples whose
    half is surest, ``wrong`` of ``n``, and of those that are less sure, ``next_`` of
    ``m``. ``shown``: how many of the labels that are wrong at random are of these. A
    network that takes similar classes for one another knows the half all the same."""

    wrong: float = 0.0
    n: int = 0
    next_: float = 0.0
    m: int = 0
    shown: float = 1.0

    @classmethod
    def of(cls, p: Tensor, given: Tensor) -> Halves:
        """From p (N, C), predictions for samples not trained on, and labels (N,); empty
        for fewer than four classes, of which the half is hardly a set."""
        there = given.unique()
        classes, n = len(there), len(p)
        if classes < CLASSES_FOR_HALVES:
            return cls()
        size = (classes + 1) // 2
        likely, half = p[:, there].topk(size, dim=1)
        outside = (there[half] != given[:, None]).all(1)
        outside = outside[likely.sum(1).argsort(descending=True)].float()
        few, many = round(ANCHORS * n), round(SURER * n)
        wrong, next_ = float(outside[:few].sum()), float(outside[few:many].sum())
        return cls(wrong, few, next_, many - few, (classes - size) / (classes - 1))

    @property
    def share(self) -> float:
        """Of all labels, the share that is wrong at random, all classes as likely.

        >>> Halves(wrong=10, n=100, shown=0.5).share
        0.2
        """
        return min(1.0, self.wrong / max(1, self.n) / self.shown)

    @property
    def least(self) -> float:
        """A share of labels that are wrong at random, as ``least_wrong``."""
        return floor(*self[:4], times=1.0, errors=SURELY)


def ignorant(p: Tensor, given: Tensor, halves: Halves) -> bool:
    """Whether p (N, C), predictions for samples not trained on, are too poor to tell
    anything of the labels given (N,): there are few, and the surest samples often have
    other labels, the others still more often, or most of the surest have. All of these
    may be wrong labels, or a network that knows too little; nothing says which, unless
    some are surely wrong at random."""
    wrong, sizes = anchors(p, given)
    surest = float(wrong.sum() / sizes.sum().clamp(min=1))
    rise = (p.argmax(1) != given).float().mean().item() - surest
    counts = given.bincount()
    few = counts[counts > 0].float().median() < PLENTY_OF_CLASS
    unsure = few and surest > IGNORANT and (rise > RISING or surest > MOST)
    return bool(unsure and halves.least == 0)


def at_chance(p: Tensor, given: Tensor) -> bool:
    """Whether p (N, C), predictions for samples not trained on, know no more of the
    labels given (N,) than nothing: the mean over classes of the share that is right is
    not surely above one class in so many."""
    hits = (p.argmax(1) == given).double()
    counts = given.bincount()
    classes = counts.nonzero().flatten()
    shares = given.bincount(hits)[classes] / counts[classes]
    error = (shares * (1 - shares) / counts[classes]).sum().sqrt() / len(classes)
    return float(shares.mean() - SURELY * error) <= 1 / len(classes)


def knowing(p: Tensor, given: Tensor, halves: Halves) -> float:
    """Share of the samples that a network knows the class of, by p (N, C), predictions
    for samples not trained on, and labels (N,), if these are wrong at random alone; 1
    for fewer than four classes, where nobody can tell."""
    if not halves.n:
        return 1.0
    right = (p.argmax(1) == given).float().mean().item()
    by_chance = halves.share / (len(given.unique()) - 1)
    return (right - by_chance) / max(1e-9, 1 - halves.share - by_chance)


def without_mistakes(
    found: Transition, there: Tensor, random: float, known: float
) -> Transition:
    """``found``, the middle less the mistakes of a network that knows the class of a
    share ``known`` of the samples. There is a share ``random`` of wrong labels, each of
    any class that is ``there`` (C,); of what it sees beyond them the less are wrong
    labels, the less it knows."""
    matrix = found.middle
    rates = 1 - matrix.diagonal()
    plain = torch.minimum(torch.full_like(rates, random), rates)
    trust = (known - KNOWS_NOTHING) / (KNOWS_ENOUGH - KNOWS_NOTHING)
    beyond = (rates - plain) * min(1.0, max(0.0, trust))
    others = (matrix - matrix.diagonal().diag()) / rates.clamp(min=1e-9)[:, None]
    alike = (1 - torch.eye(len(rates), device="cpu")) * there.float()
    alike /= alike.sum(1, keepdim=True).clamp(min=1)
    mixed = alike * plain[:, None] + others * beyond[:, None]
    return found._replace(middle=mixed + (1 - mixed.sum(1)).diag())


def least_wrong(p: Tensor, given: Tensor) -> float:
    """A share of wrong labels that mistakes of the network alone do not explain, from
    p (N, C), predictions for samples not trained on, and labels (N,), of a network that
    knows its anchors: the other labels there, less three times what they gain on
    samples that are less sure; 0 where most are other ones."""
    (wrong, sizes), (more, larger) = anchors(p, given), anchors(p, given, SURER)
    n, m = float(sizes.sum()), float(larger.sum() - sizes.sum())
    if wrong.sum() >= MOST * n:
        return 0.0
    next_ = float((more - wrong).sum())
    return floor(float(wrong.sum()), n, next_, m, times=LESS_SURE, errors=1.0)


def unshown(p: Tensor, given: Tensor) -> float:
    """A share of wrong labels that may be there although few or no classes seem
    mislabelled: the middle of what anchors and the confident joint count, and two
    standard errors. What they count may all be mistakes of the network."""
    (wrong, sizes), joint = anchors(p, given), confident_joint(p, given)
    counted = (wrong.sum() / sizes.sum().clamp(min=1)).item()
    total = joint.sum().clamp(min=1)
    mistaken = 1 - (joint.diagonal().sum() / total).item()
    value, n = (counted + max(counted, mistaken)) / 2, max(1.0, float(sizes.sum()))
    error = 2 * (value * (1 - value) / n) ** 0.5
    return min(1.0, max(value + error, NONE_SEEN / n))


def floor(
    wrong: float, n: float, next_: float, m: float, times: float, errors: float
) -> float:
    """The share ``wrong`` of ``n``, less so many ``times`` what it is larger by among
    the ``next_`` of ``m``, less so many standard ``errors``; at least 0.

    >>> floor(50, 100, 120, 200, times=1, errors=0)
    0.4
    """
    share, other = wrong / max(1.0, n), next_ / max(1.0, m)
    gained = max(0.0, other - share)
    error = (1 + times) ** 2 * share * (1 - share) / max(1.0, n)
    error += times**2 * other * (1 - other) / max(1.0, m)
    return max(0.0, share - times * gained - errors * error**0.5)


def of_two(matrix: Tensor, given: Tensor) -> tuple[float, list[str]]:
    """Of two classes one of which may have lost nearly half of its labels to the other,
    by ``matrix`` (C, C): the share of wrong labels (N,) if it were half, and a note.
    Such labels say themselves what is the class and what are its wrong labels."""
    there = given.unique()
    rates = 1 - matrix.diagonal()[there]
    if len(there) != 2 or rates.max() < NEARLY_HALF:
        return 0.0, []
    # as many have the wrong label as the right one
    share = torch.isin(given, there[rates >= NEARLY_HALF]).float().mean().item()
    a, b = there[rates.argsort(descending=True)].tolist()
    return min(share, 0.5), [
        f"Of class {a} about {rates.max():.0%} seem to be labelled {b}. Of two classes "
        "nobody can tell how many wrong labels there are, once they are nearly half."
    ]
