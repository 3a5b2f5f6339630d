"""From what was seen of samples to a diagnosis of them."""

from __future__ import annotations

import torch
from torch import Tensor

from rlap.repair.account import Diagnosis, Rate, class_notes
from rlap.repair.posterior import (
    ANCHORS,
    SURELY,
    SURER,
    anchors,
    confident_joint,
    posterior,
    transition,
)
from rlap.repair.retraining import out_of_fold
from rlap.repair.scores import (
    FEWEST_INPUTS,
    SMALLEST_GROUP,
    BadInputs,
    Seen,
    bad_inputs,
    paired,
)

FEWEST = 100  # samples, and
FEWEST_OF_CLASS = 20  # of the median class, below which nothing is said
PLENTY_OF_CLASS = 500  # the same, where the surest samples have often other labels:
IGNORANT = 0.25  # share of those that do,
RISING = 0.1  # and by how much larger it is among all samples,
MOST = 0.5  # or so large that this alone says so
LESS_SURE = 3.0  # times what surer samples gain, that the surest may still lack
CLASSES_FOR_HALVES = 4  # the fewest of which the likelier half is a set
NONE_SEEN = 3.0  # of n: the share that n samples without one still allow, by 95 %


def judge(
    seen: Seen, held: Seen | None, seed: int, honest: bool = False
) -> tuple[Diagnosis, Tensor | None]:
    """The diagnosis of what was seen, and P(label right) of a held-out slice's samples,
    0 for bad inputs. ``honest``: what was seen are the predictions of networks that
    have not been trained on the sample; else heads on the features give those.

    Bad inputs first: until they are out, they look like wrong labels."""
    p, given = seen.probabilities, seen.labels
    n, classes = p.shape
    counts = given.bincount(minlength=classes)
    keep = torch.ones(n, dtype=torch.bool, device="cpu")
    heads = None if honest else out_of_fold(seen.features, given, classes, keep, seed)
    unseen = p if honest else heads.probabilities
    # the network may have learnt its worst inputs by heart, a new head has not
    fit = unseen.gather(1, given[:, None]).squeeze(1)
    right = unseen.argmax(1) == given
    bad = bad_inputs(seen, fit, right)
    keep = bad.probability < 0.5
    if not keep.all() and not honest:
        heads = out_of_fold(seen.features, given, classes, keep, seed)
        unseen = heads.probabilities
    both = (p + unseen) / 2
    told = n >= FEWEST and counts[counts > 0].float().median() >= FEWEST_OF_CLASS
    matrices = [torch.eye(classes, device="cpu")] * 3
    if told:
        matrices = transition(unseen[keep], given[keep])
        told = told and not ignorant(unseen[keep], given[keep])
    if not told or at_chance(unseen[keep], given[keep]):
        told, matrices = False, [torch.eye(classes, device="cpu")] * 3
    matrix = matrices[0]
    targets = posterior(both, matrix, given)
    wrong = 1 - targets.gather(1, given[:, None]).squeeze(1)
    sure, suggested = targets.max(1)
    rate = rate_of(wrong[keep], *(joint_rate(m, targets[keep]) for m in matrices))
    least, most = 0.0, 1.0
    if told:
        least, most = (of(unseen[keep], given[keep]) for of in (least_wrong, unshown))
        if least and not honest and knows_less(seen, unseen, keep, seed):
            least = 0.0
    rate = Rate(rate.value, min(rate.low, least), max(rate.high, most))
    if torch.equal(matrix, torch.eye(classes, device="cpu")):
        sure = both.gather(1, given[:, None]).squeeze(1)  # how well the label fits
        rate = Rate(0.0, 0.0, most)
    found = Diagnosis(
        seen.ids, given, wrong, suggested, sure, targets, bad.probability,
        rate, rate_of_inputs(bad), matrix, bad.statistic, told=bool(told),
        notes=class_notes(given, wrong, bad.probability, counts),
    )  # fmt: skip
    if held is None:
        return found, None
    new = held.probabilities if honest else heads.predict(held.features)
    other = (held.probabilities + new) / 2
    trust = posterior(other, matrix, held.labels)
    trust = trust.gather(1, held.labels[:, None]).squeeze(1)
    if bad.statistic is not None:
        # told by the same statistics as in the data
        together = Seen(
            torch.cat([p, held.probabilities]),
            seen.features[:0],
            torch.cat([seen.statistics, held.statistics]),
            torch.cat([given, held.labels]),
            [],
        )
        fit = torch.cat([fit, new.gather(1, held.labels[:, None]).squeeze(1)])
        right = torch.cat([right, new.argmax(1) == held.labels])
        trust = trust * (bad_inputs(together, fit, right).probability[n:] < 0.5)
    return found, trust


def ignorant(p: Tensor, given: Tensor) -> bool:
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
    return bool(unsure and at_random(p, given) == 0)


def least_wrong(p: Tensor, given: Tensor) -> float:
    """A share of wrong labels that mistakes of the network alone do not explain, from
    p (N, C), predictions for samples not trained on, and labels (N,): the larger of two
    answers. One is of a network that knows its anchors: the other labels there, less
    three times what they gain on samples that are less sure. The other needs less."""
    (wrong, sizes), (more, larger) = anchors(p, given), anchors(p, given, SURER)
    n, m = float(sizes.sum()), float(larger.sum() - sizes.sum())
    if wrong.sum() >= MOST * n:
        return at_random(p, given)
    next_ = float((more - wrong).sum())
    found = floor(float(wrong.sum()), n, next_, m, times=LESS_SURE, errors=1.0)
    return max(found, at_random(p, given))


def at_random(p: Tensor, given: Tensor) -> float:
    """A share of labels that are wrong at random, as ``least_wrong``: labels that are
    not among the likelier half of the classes, where that half is surest, less what
    these gain on samples that are less sure. Also a network that takes similar classes
    for one another knows which half it is; 0 for fewer than four classes."""
    classes, n = p.shape[1], len(p)
    if classes < CLASSES_FOR_HALVES:
        return 0.0
    likely, half = p.topk((classes + 1) // 2, dim=1)
    outside = (half != given[:, None]).all(1)
    outside = outside[likely.sum(1).argsort(descending=True)].float()
    few, many = round(ANCHORS * n), round(SURER * n)
    wrong, next_ = float(outside[:few].sum()), float(outside[few:many].sum())
    return floor(wrong, few, next_, many - few, times=1.0, errors=SURELY)


def knows_less(seen: Seen, unseen: Tensor, keep: Tensor, seed: int) -> bool:
    """Whether new heads on the inputs of a table predict surely more of the labels than
    those on the network's features, ``unseen`` (N, C): it has lost what tells classes
    apart, in a narrow layer or by too short a training, and takes some for others."""
    if seen.inputs is None:
        return False
    given, classes = seen.labels, unseen.shape[1]
    other = out_of_fold(seen.inputs, given, classes, keep, seed).probabilities
    hits = [(p[keep].argmax(1) == given[keep]).double() for p in (other, unseen)]
    return paired(hits[0] - hits[1]) > SURELY


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


def joint_rate(matrix: Tensor, targets: Tensor) -> float:
    """Share of wrong labels by the transition matrix and the share of each class."""
    return float((targets.mean(0) * (1 - matrix.diagonal())).sum())


def rate_of_inputs(bad: BadInputs) -> Rate:
    """Share of bad inputs; where none are seen, up to the largest group that is not
    looked for."""
    if bad.statistic is not None:
        return rate_of(bad.probability)
    n = len(bad.probability)
    unseen = max(SMALLEST_GROUP, NONE_SEEN / n) if n >= FEWEST_INPUTS else 1.0
    return Rate(0.0, 0.0, unseen)


def rate_of(probability: Tensor, *others: float) -> Rate:
    """The mean, from and to two standard errors beyond it or other estimates."""
    value = probability.mean().item()
    estimates = [value, *others]
    error = 2 * (value * (1 - value) / len(probability)) ** 0.5
    low, high = min(estimates) - error, max(estimates) + error
    return Rate(value, max(0.0, low), min(1.0, high))
