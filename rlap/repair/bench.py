"""Where repairs are tried and judged on a slice that was held out.

The slice is as noisy as the rest; ``slice`` says what its labels tell all the same.
Networks are compared in pairs, sample by sample, and the one that came is kept unless
another is better by more than a standard error. Where most labels may be right, nor may
it be worse than the best so far by the labels as they are, or surely worse than
continued training.

A repair of labels is done three times, each time towards what all networks see, in the
mean, that are better than the one that came, and have not memorised labels; training
without bad inputs is done three times, too. In trials apart from those reported the
second round gained a point or more and the third half of one, which no slice of 2,500
shows: a round stays unless it is surely worse than the one before. So does such a
repair beside continued training. Continued training itself, which may memorise what is
wrong, goes on only while a round is surely better than the one before; then labels that
are wrong are repaired from there.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from rlap.data.base import Split, stratified_indices
from rlap.repair.account import Diagnosis
from rlap.repair.candidates import (
    AS_IT_CAME,
    DROPPED,
    FRESH,
    ON,
    ON_POSTERIOR,
    PLAIN,
    TOWARDS_TRUE,
    Candidate,
    Panel,
    Unsuited,
    Workshop,
)
from rlap.repair.diagnosis import (
    ENOUGH,
    Findings,
    NeedsTraining,
    by_heart,
    findings,
)
from rlap.repair.retraining import fresh
from rlap.repair.samples import Logits, Samples
from rlap.repair.scores import look, paired
from rlap.repair.slice import Right, Slice, undone
from rlap.training.inference import accuracy
from rlap.training.loop import History, TrainingDiverged
from rlap.training.recipe import Recipe

BETTER = 1.0  # standard errors by which a repair must be better than what there was
MANY = 0.05  # share of wrong labels by which nobody can be judged, if some surely are
HELD_OUT = 0.15  # of the data, for a stand-in, where there is no slice
FEWEST = 20  # samples of which some can be held out
NEVER = -math.inf  # the score of what is not better than the network that came
ROUNDS = 3  # of training


@dataclass(frozen=True)
class Tried:
    """A repair that was tried: what it cost in seconds, its score on the slice (the
    accuracy by the true classes, estimated), and z, by how many standard errors that is
    above the network as it came; None where it diverged.

    >>> print(Tried("as it came", 0.0, 0.875, 0.0))
    as it came: 87.5%, z 0.0, 0.0 s
    """

    name: str
    seconds: float
    score: float | None
    z: float | None

    def __str__(self) -> str:
        if self.score is None:
            return f"{self.name}: diverged, {in_seconds(self.seconds)}"
        took = in_seconds(self.seconds)
        return f"{self.name}: {self.score:.1%}, z {self.z:.1f}, {took}"


class Outcome(NamedTuple):
    """A network, how it was trained, what its data are like, which repair it is, and
    how often that was done, with the histories of the ``earlier`` rounds."""

    network: Logits
    history: History | None
    diagnosis: Diagnosis
    chosen: str
    rounds: int = 1
    earlier: tuple[History, ...] = ()

    @property
    def towards_true(self) -> bool:
        """Whether the network was trained towards the true classes."""
        again = self.rounds > 1 and self.chosen not in (DROPPED, ON)
        return again or self.chosen in TOWARDS_TRUE

    @property
    def follows(self) -> bool:
        """Whether it goes on from the best outcome so far."""
        return self.rounds > 1 or self.chosen == ON_POSTERIOR

    @property
    def histories(self) -> tuple[History, ...]:
        """Of every round."""
        return self.earlier if self.history is None else (*self.earlier, self.history)


@dataclass
class Standing:
    """What is known of the data, what the network that came gets right of the slice,
    and the best outcome so far with its score and what that gets right; what all that
    are better say of the labels."""

    found: Findings
    held: Slice
    came: Right
    best: Outcome
    score: float
    right: Right
    panel: Panel


class Bench:
    """Where repairs are tried and judged; ``tried`` says how they did."""

    def __init__(
        self,
        recipe: Recipe,
        budget: float | None,
        seed: int,
        began: float,
        trainings: int | None = None,
    ) -> None:
        self.recipe, self.budget, self.seed, self.began = recipe, budget, seed, began
        self.left = math.inf if trainings is None else trainings
        self.tried: list[Tried] = []
        self.notes: list[str] = []
        self.shop = Workshop(recipe, seed)
        self.longest = 0.0

    def repair(self, network: Logits, given: Split, held: Split) -> Outcome:
        """The best network for the data, by a slice ``held`` that it has not seen."""
        began = time.perf_counter()
        found = findings(network, Samples(given), Samples(held), self.recipe, self.seed)
        spent = time.perf_counter() - began
        slice_ = Slice(held, found.trust > 0, undone(found.diagnosis.transition))
        came = slice_.right(network)
        best = Outcome(network, None, found.diagnosis, AS_IT_CAME)
        panel = Panel(found.diagnosis, given, found.mirrored)
        now = Standing(found, slice_, came, best, 0.0, came, panel)
        now.score = self.judge(AS_IT_CAME, 0.0, came, now)
        if found.trust.sum() < ENOUGH:
            self.notes.append("The held-out slice is too small to tell anything.")
            return best
        if found.scorer not in (None, network):
            new = Outcome(found.scorer, None, found.diagnosis, FRESH)
            self.enter(now, new, spent)
        self.shop.held = held
        for candidate in self.shop.candidates(found, network, given):
            self.attempt(now, candidate)
        self.go_on(now, given)
        if now.best.chosen == ON and (about := panel.diagnosis) is not None:
            # it has only made up for too little training; the labels are still wrong
            start = now.best._replace(chosen=ON_POSTERIOR, diagnosis=about)
            if self.attempt(now, self.once_more(start, given, found)):
                self.go_on(now, given)
        return now.best

    def go_on(self, now: Standing, given: Split) -> None:
        """Further rounds of the best repair."""
        for rounds in range(2, ROUNDS + 2):
            seen = told_again(now.best, now.panel)
            if seen is None and now.best.chosen not in (DROPPED, ON):
                return
            now.best = seen or now.best
            if rounds > ROUNDS:
                return
            todo = self.once_more(now.best, given, now.found)
            if not self.attempt(now, todo, rounds):
                return

    def once_more(self, best: Outcome, given: Split, found: Findings) -> Candidate:
        """What made ``best``, done to it once more."""
        about = best.network, best.diagnosis
        return self.shop.once_more(best.chosen, *about, given, found.mirrored)

    def attempt(self, now: Standing, candidate: Candidate, rounds: int = 1) -> bool:
        """Try a repair; whether it is the best so far."""
        name = candidate.name
        if self.out_of_time() or (candidate.trains and self.left < 1):
            self.notes.append(f"Out of budget before: {told(name, rounds)}.")
            return False
        self.left -= candidate.trains
        began = time.perf_counter()
        try:
            made = candidate.make()
        except Unsuited as error:
            self.notes.append(f"Not tried: {name}: {error}")
            return False
        spent = time.perf_counter() - began
        self.longest = max(self.longest, spent)
        if made is None:
            self.tried.append(Tried(told(name, rounds), spent, None, None))
            return False
        new = Outcome(*made, now.best.diagnosis, name, rounds)
        if new.follows:
            new = new._replace(earlier=now.best.histories)
        return self.enter(now, new, spent)

    def enter(self, now: Standing, new: Outcome, seconds: float) -> bool:
        """Judge a repair; whether it is the best so far."""
        right, good = now.held.right(new.network), now.held.good
        score = self.judge(told(new.chosen, new.rounds), seconds, right, now)
        better = score > NEVER
        if better and (new.towards_true or new.chosen == ON):
            now.panel.hear(new.network, new.towards_true, right.labelled)
        by_labels = paired((right.labelled - now.right.labelled)[good])
        lead = paired(right.true - now.right.true)
        more = new.chosen == ON and new.rounds > 1
        if more and min(lead, by_labels) <= BETTER:
            return False
        rate = now.found.diagnosis.label_rate
        surely_wrong = rate.value > MANY and rate.low > 0
        # many wrong ones that go one way would favour who predicts these
        if surely_wrong:
            by_labels = 0.0
        # a repair of labels or inputs gains most in its later rounds
        fixed = now.best.chosen in (*TOWARDS_TRUE, DROPPED)
        if new.chosen == ON and fixed and max(lead, by_labels) <= BETTER:
            return False
        control = new.chosen == ON and better and by_labels > 0
        # once more gains what a slice of thousands does not show: it stays unless the
        # slice says otherwise, and as long as it is better than the network that came
        again = new.follows and better and min(lead, by_labels) >= -BETTER
        if not (control or again) and (score <= now.score or by_labels < 0):
            return False
        now.best, now.score, now.right = new, score, right
        return True

    def by_stand_in(self, network: Logits, data: Split) -> Outcome:
        """The same for a network that has seen all the data: a fresh one, trained on a
        part, shows what helps, and that is done to ``network`` with everything."""
        classes = len(data.labels.unique())
        if len(data) < max(FEWEST, 2 * classes):
            raise ValueError(
                f"{len(data)} samples of {classes} classes are too few to hold any out "
                f"of them: give holdout=, or {FEWEST} and two of each class"
            )
        # the only sample of a class is not held out: the stand-in would lack the class
        labels = data.labels.cpu()
        several = (labels.bincount()[labels] > 1).nonzero().squeeze(1)
        size = max(round(HELD_OUT * len(data)), len(labels[several].unique()))
        out = torch.zeros(len(data), dtype=torch.bool, device="cpu")
        out[several[stratified_indices(labels[several], size, self.seed)]] = True
        rest, held = data.subset(~out), data.subset(out)
        seen = look(network, Samples(data))
        began = time.perf_counter()
        made = self.shop.train(fresh(network, self.seed), rest, seen.mirrored)
        took = in_seconds(time.perf_counter() - began)
        self.notes.append(
            f"No holdout: {size} samples were held out from a stand-in, trained anew "
            f"in {took}."
        )
        if made is None:
            raise TrainingDiverged("the stand-in diverged: give another recipe=")
        stand_in = made[0]
        best = self.repair(stand_in, rest, held)
        about = findings(network, Samples(data), None, self.recipe, self.seed)
        fitted = seen.accuracy, accuracy(stand_in, held), len(held)
        if len(held) >= ENOUGH and by_heart(*fitted):
            # its scores are worthless, and the slice, which it knows, cannot judge it
            about = findings(stand_in, Samples(data), None, self.recipe, self.seed)
            own = {"memorised": True, "accuracy": seen.accuracy}
            diagnosis = replace(about.diagnosis, **own)
            self.notes.append(
                "The network seems to have memorised its labels. Without holdout= "
                "nothing shows that another is better: it is returned as it came."
            )
            return Outcome(network, None, diagnosis, AS_IT_CAME)
        return self.done_again(best, about, network, data)

    def done_again(
        self, best: Outcome, about: Findings, network: Logits, data: Split
    ) -> Outcome:
        """What was best for the stand-in, done to ``network`` with all the data."""
        names = [best.chosen] * best.rounds
        if best.chosen == ON_POSTERIOR:
            names = [ON] * (len(best.histories) - best.rounds) + names
        repairs = self.shop.candidates(about, network, data)
        todo = next((each for each in repairs if each.name == names[0]), None)
        outcome = Outcome(network, None, about.diagnosis, AS_IT_CAME)
        panel = Panel(about.diagnosis, data, about.mirrored)
        for i, name in enumerate(names):
            if i:
                told_ = told_again(outcome, panel) or outcome
                todo = self.once_more(told_._replace(chosen=name), data, about)
            try:
                made = todo.make() if todo is not None else None
            except Unsuited as error:  # the stand-in's part of the data allowed it
                self.notes.append(f"Not done with all data: {best.chosen}: {error}")
                break
            if made is None:
                break
            rounds = names[: i + 1].count(name)
            outcome = Outcome(*made, outcome.diagnosis, name, rounds, outcome.histories)
            if outcome.towards_true:
                panel.hear(outcome.network, True)
        return told_again(outcome, panel) or outcome

    def diagnosed_anew(
        self, best: Outcome, given: Split, held: Split | None
    ) -> Outcome:
        """The same, with the diagnosis by its network where that is continued training
        alone and finds surely fewer wrong labels than the network that came, which took
        right ones for wrong. Only a slice ``held`` tells that from memorised labels,
        and it is not done where it costs a training."""
        first = best.diagnosis
        if best.chosen != ON or not first.labels_wrong:
            return best
        about = None
        if held is not None:
            data = Samples(given), Samples(held)
            with suppress(NeedsTraining):
                about = findings(best.network, *data, None, self.seed).diagnosis
        if about is None:
            self.notes.append("The diagnosis is of the network as it came.")
        elif about.told and about.label_rate.value < first.label_rate.low:
            self.notes.append(
                "The diagnosis is by the network that was chosen; by the one that came "
                f"{first.label_rate} of the labels seemed wrong."
            )
            return best._replace(diagnosis=about)
        return best

    def judge(self, name: str, seconds: float, new: Right, now: Standing) -> float:
        """Note how a network did that gets ``new`` right; its score, below all where it
        is not better than the one that came."""
        z = paired(new.true - now.came.true)
        shown = min(1.0, max(0.0, new.accuracy))
        self.tried.append(Tried(name, seconds, shown, z))
        return new.accuracy if z > BETTER or name == AS_IT_CAME else NEVER

    def out_of_time(self) -> bool:
        """Whether another training would probably end after the budget."""
        spent = time.perf_counter() - self.began
        return self.budget is not None and spent + self.longest > self.budget


def told_again(best: Outcome, panel: Panel) -> Outcome | None:
    """The same, its labels told by all networks that were heard; None where there is
    nothing of that kind to tell."""
    if best.chosen in PLAIN:
        return None
    if not best.towards_true:  # so nobody has heard it yet
        panel.hear(best.network, False)
    about = panel.diagnosis
    return None if about is None else best._replace(diagnosis=about)


def in_seconds(seconds: float) -> str:
    """A time, short ones with a decimal.

    >>> in_seconds(0.62), in_seconds(62.1)
    ('0.6 s', '62 s')
    """
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def told(name: str, rounds: int) -> str:
    """What a repair is called that was done several times."""
    if rounds == 1:
        return name
    times = "once" if rounds == 2 else f"{rounds - 1} times"
    towards = "" if name in (DROPPED, ON) else ", towards the mean posterior"
    return f"{name}; then {times} more{towards}"
