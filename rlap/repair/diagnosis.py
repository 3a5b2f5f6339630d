"""What is wrong with the data: labels, inputs or neither; which samples, how surely."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from rlap.checks import check_gradients, check_model, check_seed, check_two_classes
from rlap.repair.account import Diagnosis, Rate
from rlap.repair.judging import enough, judge
from rlap.repair.labels.mistakes import at_chance, unshown
from rlap.repair.labels.posterior import MISLABELLED, SURELY, anchors
from rlap.repair.retraining import cross_fitted, fresh_scorer, usual_recipe
from rlap.repair.samples import Logits, Samples
from rlap.repair.scores import MEAN, SPREAD, Seen, look
from rlap.training.recipe import Recipe, check_recipe

MEMORISED = 0.25  # of accuracy, that is lost from the data to a held-out slice,
SOME_LOST = 0.05  # or as much as this
CLEARLY = 3.0  # standard errors of a loss that is said to be of memorised labels
FITTED = 0.99  # where the data are fitted as well as this
ENOUGH = 30  # samples of a slice that tell whether labels were memorised
SHARED = 0.1  # of the slice that may be among the data unsaid
# beyond as many standard deviations of the data's inputs, and times their width, those
# of a slice are prepared otherwise; cleaner or noisier ones are nearer
UNLIKE, WIDTHS = 2.0, 3.0
OTHER_CLASSES = 0.1  # of the slice that may be of other classes than in the data


@dataclass
class Findings:
    """A diagnosis, and what a repair goes on with: the network that gave the scores
    (None: several did, each for what it had not seen), P(label right) of the held-out
    slice's samples (M,), and whether mirror images are as good as others."""

    diagnosis: Diagnosis
    scorer: nn.Module | None
    trust: Tensor | None
    mirrored: bool


class NeedsTraining(Exception):
    """A fresh network must be trained, and none may be."""


def diagnose(
    model: nn.Module,
    data: Any,
    *,
    holdout: Any = None,
    recipe: Recipe | None = None,
    prepare: Callable[[Tensor], Tensor] | None = None,
    output: Callable[[Any], Tensor] | None = None,
    seed: int = 0,
) -> Diagnosis:
    """Say what is wrong with the data that ``model`` was trained on.

    The model is left as it was, and inputs are read a batch at a time. Where networks
    must be trained anew, what a torch Dataset returns is kept up to 2 GB.

    Args:
        model: a classifier, (B, ...) -> logits (B, C), or something with ``.logits``.
        data: a ``Split``; (inputs, labels) or (inputs, labels, ids) of tensors or numpy
            arrays, memory-mapped ones, too; a torch Dataset of (input, label[, id]).
        holdout: data of the same kind that the model has *not* been trained on, just
            as noisy; without it nobody can tell whether labels were memorised.
        recipe: how a fresh network is trained, where one is; by default ten epochs of
            Adam with a one-cycle learning rate, few samples in smaller batches.
        prepare: from a batch as stored to what the model takes; by default uint8
            becomes float in [0, 1].
        output: takes the logits from what the model returns.
        seed: of the folds and the heads.

    Raises ``TypeError`` and ``ValueError`` for unusable data or models.

    >>> rlap.diagnose(model, data).inputs_bad
    False
    """
    network = Logits(check_model(model), output)
    check_recipe(recipe)
    samples = Samples(data, prepare)
    held = None if holdout is None else Samples(holdout, prepare, "holdout")
    return findings(
        network, samples, held, recipe or usual_recipe(len(samples)), check_seed(seed)
    ).diagnosis


def findings(
    network: Logits,
    samples: Samples,
    held: Samples | None,
    recipe: Recipe | None,
    seed: int,
) -> Findings:
    """``diagnose``, with what a repair needs beside the diagnosis. ``NeedsTraining``
    where a fresh network must be trained and no recipe says how."""
    check_gradients()
    if held is not None and held.shape != samples.shape:
        raise ValueError(
            f"inputs of the holdout have shape {(*held.shape,)}, those of the data "
            f"{(*samples.shape,)}: it must be of the same kind"
        )
    seen = look(network, samples)
    check_two_classes(seen.labels)
    slice_ = None if held is None else look(network, held, seen.mirrored)
    if slice_ is not None:
        check_slice(seen, slice_)
    about = {"accuracy": seen.accuracy, "memorised": None, "held_accuracy": None}
    scorer, found, trust, notes, asked = network, None, None, [], False
    if slice_ is not None:
        about["held_accuracy"] = slice_.accuracy
        notes = shared(seen, slice_) + other_shares(seen.labels, slice_.labels)
        notes += held.notes
    notes += samples.notes
    notes += guessing(seen, "labels") or guessing(slice_, "held-out labels")
    if slice_ is not None and len(slice_.labels) >= ENOUGH:
        lost = by_heart(seen.accuracy, slice_.accuracy, len(slice_.labels))
        if not lost:
            found, trust = judge(seen, slice_, seed)
        asked = lost or hidden(found, seen, slice_, trust)
        clear = surely_lost(seen.accuracy, slice_.accuracy, len(slice_.labels), CLEARLY)
        about["memorised"] = lost or (asked and clear)
        if asked and not about["memorised"]:
            notes.append("It tells too little: a freshly trained network was asked.")
    if asked and recipe is None:
        raise NeedsTraining
    if asked:
        scorer = fresh_scorer(network, samples, recipe, seen.mirrored, seed)
        seen = look(scorer, samples, seen.mirrored)
        slice_ = look(scorer, held, seen.mirrored)
        honest = seen.accuracy - slice_.accuracy > MEMORISED
        if not honest:
            found, trust = judge(seen, slice_, seed)
            honest = hidden(found, seen, slice_, trust)
        if honest:  # the fresh one has memorised them as well
            parts = (samples.split()[0], held.split()[0], recipe, seen.mirrored, seed)
            seen.probabilities, slice_.probabilities = cross_fitted(network, *parts)
            scorer = None
            found, trust = judge(seen, slice_, seed, honest=True)
    elif found is None:
        found, trust = judge(seen, slice_, seed)
    if trust is not None and found.told:
        about["label_rate"] = allowing(found.label_rate, seen, slice_, trust)
    if about["memorised"] is None and seen.accuracy >= FITTED:
        about["label_rate"] = found.label_rate._replace(high=1.0)
    found = replace(found, notes=found.notes + notes, **about)
    return Findings(found, scorer, trust, seen.mirrored)


def check_slice(seen: Seen, slice_: Seen) -> None:
    """Raise ``ValueError`` where the held-out slice has classes that the data lack, or
    inputs of another scale: those of half of its samples lie beyond nearly all."""
    new = sorted(set(slice_.labels.tolist()) - set(seen.labels.tolist()))
    if new:
        raise ValueError(
            f"holdout has samples of class {', '.join(map(str, new))}, of which the "
            "data have none: it must be of the same kind"
        )
    if len(slice_.labels) < ENOUGH:
        return
    width = seen.statistics[:, SPREAD].median().exp().item()
    for column, what, least in ((SPREAD, "standard deviation", math.log(WIDTHS)),
                                (MEAN, "mean", WIDTHS * width)):  # fmt: skip
        ours, theirs = (each.statistics[:, column] for each in (seen, slice_))
        found = [each.median().item() for each in (ours, theirs)]
        if abs(found[1] - found[0]) > max(UNLIKE * ours.std().item(), least):
            shown = [math.exp(x) if column == SPREAD else x for x in found]
            raise ValueError(
                f"inputs of the holdout are unlike those of the data: the {what} of "
                f"one is {shown[1]:.3g} in the median, and {shown[0]:.3g} in the data: "
                "prepare both in the same way"
            )


def other_shares(given: Tensor, held: Tensor) -> list[str]:
    """A note where classes have surely other shares of the held-out labels (M,) than
    of those given (N,)."""
    both = torch.stack(
        [x.bincount(minlength=int(given.max()) + 1) for x in (given, held)]
    )
    n, m = both.sum(1).tolist()
    shares = both / both.sum(1, keepdim=True)
    all_ = both.sum(0) / (n + m)
    apart = shares[1] - shares[0]
    chi = (apart.square() / (all_ * (1 / n + 1 / m)).clamp(min=1e-12)).sum().item()
    freedom = int((all_ > 0).sum()) - 1
    moved = apart.abs().sum().item() / 2
    # four standard deviations of chi squared above what chance makes
    if moved <= OTHER_CLASSES or chi <= freedom + 4 * (2 * freedom) ** 0.5:
        return []
    c = int(apart.abs().argmax())
    return [
        f"Classes have other shares of the held-out samples: class {c} has "
        f"{shares[1, c]:.0%} of them and {shares[0, c]:.0%} of the data. What helps on "
        "these need not help on those."
    ]


def shared(seen: Seen, slice_: Seen) -> list[str]:
    """A note where held-out samples are among the data: by the statistics of their
    inputs, which others would have to share to the last bit."""
    known = set(map(tuple, seen.statistics.tolist()))
    common = sum(tuple(row) in known for row in slice_.statistics.tolist())
    if common <= SHARED * len(slice_.labels):
        return []
    return [
        f"{common} of the {len(slice_.labels)} held-out samples are among the data: "
        "they flatter a network that was trained on them."
    ]


def guessing(seen: Seen | None, what: str) -> list[str]:
    """A note where a network predicts the labels of some samples as if it guessed."""
    if seen is None or len(seen.labels) < ENOUGH:
        return []
    if not at_chance(seen.probabilities, seen.labels):
        return []
    return [
        f"The network predicts the {what} no better than chance: are inputs prepared, "
        "and classes numbered, as they were in its training?"
    ]


def by_heart(accuracy: float, held: float, n: int) -> bool:
    """Whether a network has memorised labels, by the share of the labels that it
    predicts, of the data and of ``n`` held-out samples: far more, or all and surely
    more.

    >>> by_heart(0.9, 0.6, 500), by_heart(0.9, 0.8, 500), by_heart(1.0, 0.8, 500)
    (True, False, True)
    """
    lost = accuracy - held
    return lost > MEMORISED or (accuracy >= FITTED and surely_lost(accuracy, held, n))


def surely_lost(accuracy: float, held: float, n: int, errors: float = SURELY) -> bool:
    """Whether accuracy on the data is more than on ``n`` held-out samples, by so many
    standard ``errors``."""
    error = (held * (1 - held) / max(1, n)) ** 0.5
    return accuracy - held > max(SOME_LOST, errors * error)


def hidden(found: Diagnosis, seen: Seen, slice_: Seen, trust: Tensor) -> bool:
    """Whether labels that were memorised may look right: the network predicts surely
    fewer of the held-out slice, which nothing was trained on, and none of that but by
    chance, or that has surely more wrong labels at its anchors than the data are said
    to have at most. Or they spoilt the features, by which nothing can be told."""
    if not surely_lost(seen.accuracy, slice_.accuracy, len(slice_.labels)):
        return False  # its mistakes, then, are on both
    if not found.told and enough(seen.labels):
        return True
    good = trust > 0  # without bad inputs
    p, held = slice_.probabilities[good], slice_.labels[good]
    if at_chance(p, held):
        return True
    wrong, sizes = anchors(p, held)
    n = max(1.0, float(sizes.sum()))
    rate = float(wrong.sum()) / n
    least = rate - SURELY * (rate * (1 - rate) / n) ** 0.5
    return found.told and least > found.label_rate.high + MISLABELLED


def allowing(rate: Rate, seen: Seen, slice_: Seen, trust: Tensor) -> Rate:
    """The rate, up to what may not show on the held-out slice, where the network knows
    the data's labels surely better: some of the wrong ones, then, look right."""
    good = trust > 0
    if not surely_lost(seen.accuracy, slice_.accuracy, len(slice_.labels)):
        return rate
    most = unshown(slice_.probabilities[good], slice_.labels[good])
    return rate._replace(high=max(rate.high, most))
