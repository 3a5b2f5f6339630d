"""What is said of bad data: how many, which, how surely, and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd

CONFUSED = 2.0  # times as often as others, that a class is labelled one to be named
NAMED = 0.1  # share beyond its own bad labels that a class may lose unnamed


class Rate(NamedTuple):
    """A share of the samples and an interval for it.

    >>> print(Rate(0.25, 0.2, 0.31))
    25.0% (20.0% to 31.0%)
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


def rate_of(value: float, n: int, *others: float) -> Rate:
    """A share of ``n`` samples, from and to two standard errors beyond it or other
    estimates.

    >>> print(rate_of(0.2, 100))
    20.0% (12.0% to 28.0%)
    """
    error = 2 * (value * (1 - value) / n) ** 0.5
    low, high = min(value, *others, 1.0) - error, max(value, *others, 0.0) + error
    return Rate(value, max(0.0, low), min(1.0, high))


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What ``diagnose`` found about N samples of C classes.

    Attributes:
        ids: N names of the samples, as the data give them, or their numbers.
        labels: (N,), as given.
        wrong_label: (N,) probability that the label is wrong.
        suggested: (N,), the likeliest class; ``sure`` (N,), its probability.
        targets: (N, C) probability of each class to be the true one.
        bad_input: (N,) probability that the input is bad.
        label_rate, input_rate: share of wrong labels, of bad inputs; with intervals. A
            share of 0 is what is seen, its interval goes up to what may not show.
        transition: (C, C), P(given label | true class).
        statistic: of the inputs, by which bad ones are told; None where there are none.
        memorised: whether the network has memorised labels; None: unknown.
        accuracy, held_accuracy: share of the labels, as given, that it predicts, of the
            data and of ``holdout`` (None without).
        told: whether there are samples enough, and the network knows enough, to say
            anything about the labels.
        notes: what else there is to know, such as classes that would be thrown out.

    >>> found = rlap.diagnose(model, data)
    >>> found.wrong_label.shape, found.transition.shape
    (torch.Size([120]), torch.Size([10, 10]))
    """

    ids: list
    labels: Tensor
    wrong_label: Tensor
    suggested: Tensor
    sure: Tensor
    targets: Tensor
    bad_input: Tensor
    label_rate: Rate
    input_rate: Rate
    transition: Tensor
    statistic: str | None = None
    memorised: bool | None = None
    accuracy: float = math.nan
    held_accuracy: float | None = None
    told: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def labels_wrong(self) -> bool:
        """Whether any class is mislabelled."""
        return self.told and bool(self.classes_wrong.any())

    @property
    def classes_wrong(self) -> Tensor:
        """(C,) bool: the classes with wrong labels, from a tenth of the share that the
        worst of them has."""
        rates = 1 - self.transition.diagonal()
        return (rates > 0) & (rates >= rates.max() / 10)

    @property
    def confusions(self) -> list[tuple[int, int, float]]:
        """(class, label that it is given, share), the largest one or two; none where
        wrong labels are alike, as those that are drawn at random."""
        there = self.labels.bincount(minlength=len(self.transition)) > 0
        apart = there & ~torch.eye(len(there), dtype=torch.bool, device="cpu")
        classes, given = (apart & self.classes_wrong[:, None]).nonzero().T
        shares, order = self.transition[classes, given].sort(descending=True)
        if len(shares) < 2 or shares[0] < CONFUSED * shares[1:].mean():
            return []
        few = 1 + int(shares[1] > shares[0] / 2)
        return [(int(classes[i]), int(given[i]), float(share))
                for i, share in zip(order[:few], shares, strict=False)]  # fmt: skip

    @property
    def inputs_bad(self) -> bool:
        """Whether there is a group of bad inputs."""
        return self.statistic is not None

    @property
    def ranked(self) -> Tensor:
        """(N,) indices of the samples, the likeliest bad ones first."""
        unsure = self.sure.argsort(stable=True)  # first, where no label is wrong
        wrong, bad = self.wrong_label[unsure], self.bad_input[unsure]
        return unsure[torch.maximum(wrong, bad).argsort(descending=True, stable=True)]

    def with_targets(self, targets: Tensor) -> Diagnosis:
        """The same with other probabilities (N, C) of each class to be the true one;
        rates and ``transition`` stay."""
        wrong = 1 - targets.gather(1, self.labels[:, None]).squeeze(1)
        sure, suggested = targets.max(1)
        counts = self.labels.bincount(minlength=targets.shape[1])
        return replace(
            self, targets=targets, wrong_label=wrong, suggested=suggested, sure=sure,
            notes=class_notes(self.labels, wrong, self.bad_input, counts)
            + [note for note in self.notes if not note.startswith("Class ")],
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """One row a sample, the likeliest bad ones first (needs pandas)."""
        import pandas as pd

        order = self.ranked
        columns = ("labels", "wrong_label", "suggested", "sure", "bad_input")
        rows = {name: getattr(self, name)[order].numpy() for name in columns}
        return pd.DataFrame({"id": [self.ids[i] for i in order.tolist()]} | rows)

    def report(self) -> str:
        """Three sentences: labels, inputs, network; then the notes, a line each."""
        if not self.told:
            labels = f"{len(self.labels)} samples, as this network sees them, are too "
            labels += "little to tell whether labels are wrong."
        elif self.memorised is None and self.label_rate.high == 1:
            labels = "Nobody can tell whether labels are wrong: the network predicts "
            labels += "nearly all as given, and may have memorised them."
        elif self.labels_wrong:
            there = self.labels.unique()
            classes = int(self.classes_wrong[there].sum())
            where = f"in {classes} of {len(there)} classes"
            most = [f"{x:.0%} of class {a} are labelled {b}"
                    for a, b, x in self.confusions]  # fmt: skip
            where += f" (most of all {' and '.join(most)})" if most else ""
            labels = f"{self.label_rate} of the labels are wrong, {where}."
            if self.label_rate.low == 0:
                rate = self.label_rate
                labels = f"Perhaps {rate.value:.1%} of the labels are wrong, {where}, "
                labels += f"and at most {rate.high:.1%}; perhaps none, for these may "
                labels += "be mistakes of the network."
        else:
            labels = "No sign of wrong labels; of those that are wrong whatever the "
            labels += f"input, {self.label_rate.high:.1%} may not show"
            labels += "." if self.memorised is not None else ", if none were memorised."
        inputs = "No sign of bad inputs; of groups that stand apart, "
        inputs += f"{self.input_rate.high:.1%} may not show."
        if self.inputs_bad:
            inputs = f"{self.input_rate} of the inputs are bad: {self.statistic}."
        network = {
            None: "Labels that it has memorised cannot be told from right ones "
            "without a holdout= of 30 samples or more.",
            True: "It has memorised labels: a freshly trained one was asked.",
            False: "It shows no sign of having memorised labels.",
        }[self.memorised]
        seen = f"The network predicts {self.accuracy:.1%} of the labels as given"
        if self.held_accuracy is not None:
            seen += f", and {self.held_accuracy:.1%} of the held-out ones"
        network = f"{seen}. {network}"
        return "\n".join([f"{labels} {inputs} {network}", *self.notes])

    def __str__(self) -> str:
        return self.report()

    def __repr__(self) -> str:
        return (
            f"<Diagnosis of {len(self.labels)} samples: {self.label_rate} wrong labels>"
        )


def class_notes(given: Tensor, wrong: Tensor, bad: Tensor, counts: Tensor) -> list[str]:
    """Classes that would lose far more samples than are bad in them."""
    notes = []
    lost = (wrong > 0.5) | (bad > 0.5)
    expected = 1 - (1 - wrong) * (1 - bad)
    for c in counts.nonzero().flatten().tolist():
        own = given == c
        share, due = lost[own].float().mean().item(), expected[own].mean().item()
        if share > due + NAMED or share > 0.5:
            n = int(counts[c])
            lost_part = (
                f"{share:.0%} of its {n} samples" if n > 1 else "its only sample"
            )
            notes.append(f"Class {c} would lose {lost_part}: look before you drop any.")
    return notes
