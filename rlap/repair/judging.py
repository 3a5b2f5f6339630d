"""From what was seen of samples to a diagnosis of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rlap.repair.account import Diagnosis, Rate, class_notes, rate_of
from rlap.repair.labels.mistakes import (
    KNOWS_ENOUGH,
    NONE_SEEN,
    Halves,
    at_chance,
    ignorant,
    knowing,
    least_wrong,
    of_two,
    unshown,
    without_mistakes,
)
from rlap.repair.labels.posterior import SURELY, posterior, transition
from rlap.repair.retraining import out_of_fold
from rlap.repair.scores import (
    FEWEST_INPUTS,
    SMALLEST_GROUP,
    BadInputs,
    Seen,
    bad_inputs,
    paired,
)

FASTER = 5.0  # times the usual learning rate, at which heads that lag behind learn
MUCH_MORE = 0.05  # of the labels, that they must predict beyond the usual ones
FEWEST = 100  # samples, and
FEWEST_OF_CLASS = 20  # of the median class, below which nothing is said


def judge(
    seen: Seen, held: Seen | None, seed: int, honest: bool = False
) -> tuple[Diagnosis, Tensor | None]:
    """The diagnosis of what was seen, and P(label right) of a held-out slice's samples,
    0 for bad inputs. ``honest``: what was seen are the predictions of networks that
    have not been trained on the sample; else heads on the features give those.

    Bad inputs first: until they are out, they look like wrong labels."""
    p, given = seen.probabilities, seen.labels
    n, classes = p.shape
    keep = torch.ones(n, dtype=torch.bool, device="cpu")
    heads = None if honest else out_of_fold(seen.features, given, classes, keep, seed)
    unseen = p if honest else heads.probabilities
    # the network may have memorised its worst inputs, a new head has not
    fit = fitting(unseen, given)
    right = unseen.argmax(1) == given
    bad = bad_inputs(seen, fit, right)
    keep = bad.probability < 0.5
    if not keep.all() and not honest:
        heads = out_of_fold(seen.features, given, classes, keep, seed)
        unseen = heads.probabilities
    labels = about_labels(seen, unseen, keep, honest, seed)
    if labels.rate.low and not honest:
        # what takes a class for another may only have been trained too shortly
        more = out_of_fold(seen.features, given, classes, keep, seed, FASTER)
        hits = [(q[keep].argmax(1) == given[keep]).double()
                for q in (more.probabilities, unseen)]  # fmt: skip
        if paired(hits[0] - hits[1] - MUCH_MORE) > SURELY:
            heads, unseen = more, more.probabilities
            labels = about_labels(seen, unseen, keep, honest, seed)
    wrong = 1 - labels.targets.gather(1, given[:, None]).squeeze(1)
    sure, suggested = labels.targets.max(1)
    if labels.rate.value == 0:
        sure = fitting((p + unseen) / 2, given)  # how well the label fits
    counts = given.bincount(minlength=p.shape[1])
    found = Diagnosis(
        seen.ids, given, wrong, suggested, sure, labels.targets, bad.probability,
        labels.rate, rate_of_inputs(bad), labels.matrix, bad.statistic,
        told=labels.told,
        notes=class_notes(given, wrong, bad.probability, counts) + labels.notes,
    )  # fmt: skip
    if held is None:
        return found, None
    new = held.probabilities if honest else heads.predict(held.features)
    trust = posterior((held.probabilities + new) / 2, labels.matrix, held.labels)
    trust = fitting(trust, held.labels)
    if bad.statistic is not None:
        # told by the same statistics as in the data
        together = Seen(
            torch.cat([p, held.probabilities]),
            seen.features[:0],
            torch.cat([seen.statistics, held.statistics]),
            torch.cat([given, held.labels]),
            [],
        )
        fit = torch.cat([fit, fitting(new, held.labels)])
        right = torch.cat([right, new.argmax(1) == held.labels])
        trust = trust * (bad_inputs(together, fit, right).probability[n:] < 0.5)
    return found, trust


def fitting(p: Tensor, labels: Tensor) -> Tensor:
    """The probability of each label (N,) by p (N, C)."""
    return p.gather(1, labels[:, None]).squeeze(1)


class Labels(NamedTuple):
    """What is found about labels: P(given | true) (C, C), the probability (N, C) of
    each class to be the true one, the share of wrong ones, whether anything can be
    told, and notes."""

    matrix: Tensor
    targets: Tensor
    rate: Rate
    told: bool
    notes: list[str]


def about_labels(
    seen: Seen, unseen: Tensor, keep: Tensor, honest: bool, seed: int
) -> Labels:
    """From what was seen and ``unseen`` (N, C), predictions for samples not trained on,
    of which those to ``keep`` (N,) have good inputs."""
    all_, classes = seen.labels, unseen.shape[1]
    p, given = unseen[keep], all_[keep]
    both = (seen.probabilities + unseen) / 2
    eye, halves = torch.eye(classes, device="cpu"), Halves.of(p, given)
    if not enough(all_) or ignorant(p, given, halves) or at_chance(p, given):
        return Labels(eye, posterior(both, eye, all_), Rate(0.0, 0.0, 1.0), False, [])
    matrices, known = transition(p, given), knowing(p, given, halves)
    if known < KNOWS_ENOUGH:
        there = all_.bincount(minlength=classes) > 0
        matrices = without_mistakes(matrices, there, halves.share, known)
    half, notes = of_two(matrices.more, given)
    most = max(unshown(p, given), half)
    targets = posterior(both, matrices.middle, all_)
    if torch.equal(matrices.middle, eye):
        return Labels(eye, targets, Rate(0.0, 0.0, most), True, notes)
    estimates = [joint_rate(matrix, targets[keep]) for matrix in matrices]
    doubted = 1 - fitting(targets[keep], given).mean().item()
    # too few are doubted where some wrong labels were learnt, and the matrix counts
    # some mistakes of the network: the truth lies between
    value = (estimates[0] + doubted) / 2
    rate = rate_of(value, len(given), doubted, *estimates)
    least = halves.least
    if known >= KNOWS_ENOUGH:
        least = max(least, least_wrong(p, given))
    if least and not honest and knows_less(seen, unseen, keep, seed):
        least = 0.0
    rate = Rate(rate.value, min(rate.low, least), max(rate.high, most))
    return Labels(matrices.middle, targets, rate, True, notes)


def enough(labels: Tensor) -> bool:
    """Whether there are enough labels (N,), of most classes, to tell anything of."""
    counts = labels.bincount()
    few = counts[counts > 0].median() < FEWEST_OF_CLASS
    return len(labels) >= FEWEST and not few


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


def joint_rate(matrix: Tensor, targets: Tensor) -> float:
    """Share of wrong labels by the transition matrix and the share of each class."""
    return float((targets.mean(0) * (1 - matrix.diagonal())).sum())


def rate_of_inputs(bad: BadInputs) -> Rate:
    """Share of bad inputs; where none are seen, up to the largest group that is not
    looked for."""
    n = len(bad.probability)
    if bad.statistic is not None:
        return rate_of(bad.probability.mean().item(), n)
    unseen = max(SMALLEST_GROUP, NONE_SEEN / n) if n >= FEWEST_INPUTS else 1.0
    return Rate(0.0, 0.0, unseen)
