"""Forget a class in one call: settings chosen, the result judged, the truth told."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

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
from rlap.unlearning.common.begin import begin, last_layer
from rlap.unlearning.common.splits import (
    ForgettingData,
    Label,
    hold_out,
    is_one_of,
    labels_of,
)
from rlap.unlearning.common.statistics import weight_digest
from rlap.unlearning.examiner.probes import probe
from rlap.unlearning.examiner.relearning import relearn
from rlap.unlearning.registry import METHODS
from rlap.unlearning.settings import Row, Trial, best, both, divided
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
            more often than by guessing.
        setting: the options that were chosen.
        before, after: accuracy on held-out samples that chose nothing, of the class
            ("forget") and of the others ("retain").
        probe: accuracy on the class of a linear probe of the features, before and
            after; None where the logits are no nn.Linear's.
        relearned: how far the class comes back in 60 steps on 50 samples of each class
            (see ``Relearning.back``); 1 was never gone, None if relearning diverged.
        tried: every setting, with both accuracies on the samples that chose.

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

    @property
    def cost(self) -> float:
        """Accuracy that the others lost."""
        return self.before["retain"] - self.after["retain"]

    def __str__(self) -> str:
        rows = {
            "the class": (self.before["forget"], self.after["forget"]),
            "the others": (self.before["retain"], self.after["retain"]),
        }
        if self.probe is not None:
            rows["the class, by a probe of the features"] = self.probe
        lines = [f"{self.word}. Accuracy on held-out samples:"]
        lines += [f"  {name}: {b:.1%} -> {a:.1%}" for name, (b, a) in rows.items()]
        told = "diverged" if self.relearned is None else f"{self.relearned:.0%}"
        lines.append(f"  relearned: {told} (100%: it was never gone)")
        return "\n".join(lines)


@own_precision()
def forget(
    model: nn.Module,
    train: Split,
    label: Label,
    *,
    method: str = "ssd",
    budget: float = 0.05,
    held: Split | None = None,
    share: float = 0.2,
    recipe: Recipe | None = None,
    seed: int = 0,
) -> Forgotten:
    """Forget a class by a method of ``METHODS``, its settings chosen on held-out data.

    A ``share`` of ``train`` is held out. One half of it chooses: of the settings that
    cost the others no more than ``budget`` (of all, where none does) the one of the
    largest selectivity, see ``rlap.unlearning.settings``. The other half judges. Where
    the method forgot nothing, or cost more than ``budget`` there, a warning says so and
    the caller's model is what one gets back.

    Args:
        model: a classifier trained on ``train``; left as it was.
        label: the class, or several at once.
        method: a name in ``METHODS``.
        budget: accuracy that the other classes may lose, in [0, 1].
        held: samples that the model was never trained on, to be held out in the place
            of a part of ``train``: better, for a model is too sure of what it has seen.
        recipe: of a method that trains; None takes the method's own. "retrain" wants
            the one that trained the model.
        seed: of what is held out, and of the method.

    Raises ``TypeError`` and ``ValueError``, at once, for what cannot work.

    >>> found = forget(model, data, 0, method="logit_mask", share=0.5)
    >>> found.after["forget"], found.word
    (0.0, 'logit_mask forgot class 0')
    """
    check_one_of(method, METHODS, "method")
    check_rate(budget, "budget")
    seed = check_seed(seed)
    check_gradients()
    labels = labels_of(label, check_split(train, "train").num_classes)
    trial = held_out(train, labels, held, share, seed)
    data = trial.data
    chosen = METHODS[method]
    given = {"trains": chosen.trains, "single": not chosen.several}
    begin(model, data.forget, data.retain, **given)
    found = tried(Asked(method, model, trial, recipe, seed))
    start = both(model, trial.valid)
    within = [r for r in found.rows if start["retain"] - r["retain"] <= budget]
    row = best(within or found.rows, start)
    new, name = found.make(row), " ".join(map(str, labels))
    before, after = both(model, data), both(new, data)
    if refused := reason(model, new, before, after, budget):
        word = f"{method} did not forget class {name}: {refused}; the model is kept"
        warnings.warn(word, stacklevel=3)
    else:
        guessing = 1 / train.num_classes
        part = " in part" if after["forget"] > guessing else ""
        word = f"{method} forgot class {name}{part}"
    return Forgotten(
        model if refused else new,
        not refused,
        word,
        {k: v for k, v in row.items() if k not in start},
        before,
        after,
        probed(model, new, data, seed),
        relearn(
            new,
            data,
            target=before["forget"] / 2,
            keep=before["retain"] / 2,
            seed=seed,
        ).numbers("relearned")["relearned"],
        found.rows,
    )


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
            f"the class is recognised as before, {before['forget']:.1%} and now "
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
