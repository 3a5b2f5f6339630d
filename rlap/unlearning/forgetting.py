"""Forget a class in one call: settings chosen, the result judged, the truth told."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from rlap.checks import (
    check_gradients,
    check_inside,
    check_one_of,
    check_rate,
    check_seed,
)
from rlap.data.base import Split, check_split
from rlap.network.precision import own_precision
from rlap.training.recipe import Recipe
from rlap.unlearning.choosing import Row, Trial, best, both, divided
from rlap.unlearning.common.begin import begin, last_layer
from rlap.unlearning.common.splits import (
    ForgettingData,
    Label,
    hold_out,
    is_one_of,
    labels_of,
    split_samples,
)
from rlap.unlearning.common.statistics import weight_digest
from rlap.unlearning.examiner.attacks import loss_attack
from rlap.unlearning.examiner.probes import probe
from rlap.unlearning.examiner.relearning import relearn
from rlap.unlearning.registry import METHODS
from rlap.unlearning.tuning import Asked, tried

IMAGES = 36  # of the class, at most, for methods that look at a few (LRA-NPP's authors)
FEWEST = 3  # held-out samples of a class: to look at, to choose by, to judge by


@dataclass(frozen=True)
class Forgotten:
    """What ``forget`` came to; printed, it tells.

    Attributes:
        model: the new model where it was accepted; else the caller's own.
        accepted: whether the class is recognised less often now, within the budget.
        word: what happened, in a sentence; "in part" where the class is recognised
            more often than by guessing, or the samples than samples never trained on.
        setting: the options that were chosen.
        before, after: accuracy on held-out samples that chose nothing, of the class
            ("forget") and of the others ("retain"). Where samples were forgotten, on
            these and on held-out ones.
        probe: accuracy on the class of a linear probe of the features, before and
            after; None where the logits are no nn.Linear's, and of samples.
        relearned: how far the class comes back in 60 steps on 50 samples of each class
            (see ``Relearning.back``); 1 was never gone; None of samples, and where
            relearning diverged.
        tried: every setting, with both accuracies on the samples that chose.
        membership: of samples, with which AUROC their loss tells them from held-out
            ones, before and after; 0.5 is not at all.

    >>> found = forget(model, data, 0, method="logit_mask", share=0.5)
    >>> found.accepted, found.model is model
    (True, False)
    """

    model: nn.Module
    accepted: bool
    word: str
    setting: dict[str, Any]
    before: dict[str, float]
    after: dict[str, float]
    probe: tuple[float, float] | None
    relearned: float | None
    tried: list[Row]
    membership: tuple[float, float] | None = None

    @property
    def cost(self) -> float:
        """Accuracy that the others lost."""
        return self.before["retain"] - self.after["retain"]

    def __str__(self) -> str:
        names = ("the class", "the others")
        if self.membership is not None:
            names = ("these samples", "held-out ones")
        pairs = [(self.before[k], self.after[k]) for k in ("forget", "retain")]
        rows = dict(zip(names, pairs, strict=True))
        if self.probe is not None:
            rows["the class, by a probe of the features"] = self.probe
        lines = [f"{self.word}. Accuracy on held-out samples:"]
        lines += [f"  {name}: {b:.1%} -> {a:.1%}" for name, (b, a) in rows.items()]
        if self.relearned is not None:
            lines.append(f"  relearned: {self.relearned:.0%} (100%: it was never gone)")
        elif self.membership is None:
            lines.append("  relearned: diverged")
        if self.membership is not None:
            lines[0] = f"{self.word}. Accuracy:"
            before, after = self.membership
            lines.append(
                f"  told from held-out ones by their loss, AUROC: "
                f"{before:.2f} -> {after:.2f} (0.50: not at all)"
            )
        return "\n".join(lines)


@own_precision()
def forget(
    model: nn.Module,
    train: Split,
    label: Label | None = None,
    *,
    samples: Tensor | None = None,
    method: str = "ssd",
    budget: float = 0.05,
    held: Split | None = None,
    share: float = 0.2,
    recipe: Recipe | None = None,
    seed: int = 0,
    examine_seed: int | None = None,
) -> Forgotten:
    """Forget a class, or samples, by a method of ``METHODS``; its settings are chosen.

    A ``share`` of ``train`` is held out. One half of it chooses: of the settings that
    cost the others no more than ``budget`` (of all, where none does) the one of the
    largest selectivity, see ``rlap.unlearning.choosing``. The other half judges. Where
    the method forgot nothing, or cost more than ``budget`` there, a warning says so and
    the caller's model is what one gets back.

    Args:
        model: a classifier trained on ``train``; left as it was.
        label: the class, or several at once.
        samples: in the place of ``label``, which samples of ``train``: indices, or
            (N,) bool. They are forgotten where they are answered as samples are that
            were never trained on, of which ``held`` has to have some. Not every method
            can.
        method: a name in ``METHODS``.
        budget: accuracy that the other classes may lose, in [0, 1].
        held: samples that the model was never trained on, to be held out in the place
            of a part of ``train``: better, for a model is too sure of what it has seen.
        recipe: of a method that trains; None takes the method's own. "retrain" wants
            the one that trained the model.
        seed: of the method.
        examine_seed: of what is held out, and of all that judges; None takes ``seed``.

    Raises ``TypeError`` and ``ValueError``, at once, for what cannot work.

    >>> found = forget(model, data, 0, method="logit_mask", share=0.5)
    >>> found.after["forget"], found.word
    (0.0, 'logit_mask forgot class 0')
    """
    check_one_of(method, METHODS, "method")
    check_rate(budget, "budget")
    seed = check_seed(seed)
    check_gradients()
    judge = seed if examine_seed is None else check_seed(examine_seed, "examine_seed")
    check_split(train, "train")
    if (label is None) == (samples is None):
        raise TypeError("name the class to forget, or the samples, and not both")
    if samples is None:
        labels = labels_of(label, train.num_classes)
        trial = held_out(train, labels, held, share, judge)
        name = "class " + " ".join(map(str, labels))
    else:
        METHODS[method].check_samplewise()
        trial = of_samples(train, samples, held, judge)
        name = f"{len(trial.data.forget)} samples"
    data, chosen = trial.data, METHODS[method]
    given = {"trains": chosen.trains, "single": not chosen.several}
    begin(model, data.forget, data.retain, samplewise=data.samplewise, **given)
    found = tried(Asked(method, model, trial, recipe, seed))
    start = both(model, trial.valid)
    within = [r for r in found.rows if start["retain"] - r["retain"] <= budget]
    row = best(within or found.rows, start, data.samplewise)
    new = found.make(row)
    before, after = both(model, data), both(new, data)
    if refused := reason(model, new, before, after, budget):
        word = f"{method} did not forget {name}: {refused}; the model is kept"
        warnings.warn(word, stacklevel=3)
    else:
        unknown = after["retain"] if data.samplewise else 1 / train.num_classes
        word = f"{method} forgot {name}{' in part' * (after['forget'] > unknown)}"
    return Forgotten(
        model if refused else new,
        not refused,
        word,
        {k: v for k, v in row.items() if k not in start},
        before,
        after,
        tried=found.rows,
        **judged(model, new, data, before, judge),
    )


def judged(
    model: nn.Module,
    new: nn.Module,
    data: ForgettingData,
    before: dict[str, float],
    seed: int,
) -> dict[str, Any]:
    """What is known beyond answers: of a class by probe and relearning, of samples by
    membership."""
    if data.samplewise:
        told = replace(data, forget_test=data.retain_test)
        areas = tuple(loss_attack(net, told).auc for net in (model, new))
        return {"probe": None, "relearned": None, "membership": areas}
    half = {"target": before["forget"] / 2, "keep": before["retain"] / 2}
    found = relearn(new, data, **half, seed=seed).numbers("relearned")
    return {"probe": probed(model, new, data, seed), "relearned": found["relearned"]}


def of_samples(train: Split, samples: Tensor, held: Split | None, seed: int) -> Trial:
    """What is learned from, what chooses and what judges, where samples are forgotten:
    they are asked themselves, beside samples that were never trained on."""
    forgotten, retained = split_samples(train, samples)
    if held is None:
        raise ValueError(
            "to forget samples, give held=: samples that the model was never trained on"
        )
    judge, choose = hold_out(check_split(held, "held"), 0.5, seed)
    data, valid = (
        ForgettingData((), forgotten, retained, forgotten, fresh)
        for fresh in (judge, choose)
    )
    return Trial(data, forgotten, valid)


def held_out(
    train: Split, labels: Sequence[int], held: Split | None, share: float, seed: int
) -> Trial:
    """What is learned from, what chooses and what judges."""
    if held is None:
        train, held = hold_out(train, check_inside(share), seed)
    present = check_split(held, "held").labels
    for label in labels:
        if (count := int((present == label).sum())) < 2 * FEWEST:
            raise ValueError(
                f"{count} samples of class {label} are held out and {2 * FEWEST} are "
                "needed: give more of them, or a larger share"
            )
    judge, choose = hold_out(held, 0.5, seed)
    ours = int(is_one_of(choose.labels, labels).sum())
    return divided(train, choose, judge, labels, min(IMAGES, ours // 2))


def reason(
    model: nn.Module,
    new: nn.Module,
    before: dict[str, float],
    after: dict[str, float],
    budget: float,
) -> str:
    """Why ``new`` is not to be had in the place of ``model``, or ""."""
    if weight_digest(model) == weight_digest(new):
        return "it changed nothing"
    if after["forget"] >= before["forget"]:
        return (
            f"it is recognised as before, {before['forget']:.1%} and now "
            f"{after['forget']:.1%}"
        )
    cost = before["retain"] - after["retain"]
    if round(cost - budget, 9) > 0:
        return f"it cost the others {cost:.1%} where {budget:.1%} are allowed"
    return ""


def probed(
    model: nn.Module, new: nn.Module, data: ForgettingData, seed: int
) -> tuple[float, float] | None:
    """What a linear probe finds of the class in the features, before and after."""
    if last_layer(new, data.forget.inputs[:1])[1] is None:
        return None
    before, after = (probe(net, data, seed=seed) for net in (model, new))
    return before.linear_forget, after.linear_forget
