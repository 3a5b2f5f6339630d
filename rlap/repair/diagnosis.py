"""What is wrong with the data: labels, inputs or neither; which samples, how surely."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from rlap.checks import check_gradients, check_model, check_seed, check_two_classes
from rlap.repair.posterior import (
    MISLABELLED,
    SURELY,
    anchors,
    confident_joint,
    posterior,
    transition,
)
from rlap.repair.retraining import RECIPE, cross_fitted, fresh_scorer
from rlap.repair.samples import Logits, Samples
from rlap.repair.scores import Seen, bad_inputs, look, out_of_fold
from rlap.training.recipe import Recipe, check_recipe

if TYPE_CHECKING:
    import pandas as pd

MEMORISED = 0.25  # of accuracy, that is lost from the data to a held-out slice
ENOUGH = 30  # samples of a slice that tell whether labels were memorised
SHARED = 0.1  # of the slice that may be among the data unsaid
FEWEST = 100  # samples, and
FEWEST_OF_CLASS = 20  # of the median class, below which nothing is said
PLENTY_OF_CLASS = 500  # the same, where the surest samples have often other labels:
IGNORANT = 0.25  # share of those that do,
RISING = 0.1  # and by how much larger it is among all samples
NONE_SEEN = 3.0  # of n: the share that n samples without one still allow, by 95 %
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
        label_rate, input_rate: share of wrong labels, of bad inputs; with intervals.
        transition: (C, C), P(given label | true class).
        statistic: of the inputs, by which bad ones are told; None where there are none.
        memorised: whether the network has learnt labels by heart; None: unknown.
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
        return self.told and bool((self.transition.diagonal() < 1).any())

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
            notes=_notes(self.labels, wrong, self.bad_input, counts)
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
            labels = f"{len(self.labels)} samples, as well as this network tells them "
            labels += "apart, are too little to tell whether labels are wrong."
        elif self.labels_wrong:
            there = self.labels.unique()
            classes = int((self.transition.diagonal()[there] < 1).sum())
            labels = f"{self.label_rate} of the labels are wrong, in {classes} of "
            labels += f"{len(there)} classes."
        else:
            labels = (
                f"No sign of wrong labels; {self.label_rate.high:.1%} may not show."
            )
        inputs = "No sign of bad inputs."
        if self.inputs_bad:
            inputs = f"{self.input_rate} of the inputs are bad: {self.statistic}."
        network = {
            None: "Labels that it has learnt by heart cannot be told from right ones "
            "without a holdout= of 30 samples or more.",
            True: "It has learnt labels by heart: a fresh one gave the scores.",
            False: "It has not learnt them by heart.",
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


@dataclass
class Findings:
    """A diagnosis, and what a repair goes on with: the network that gave the scores
    (None: several did, each for what it had not seen), P(label right) of the held-out
    slice's samples (M,), and whether mirror images are as good as others."""

    diagnosis: Diagnosis
    scorer: nn.Module | None
    trust: Tensor | None
    mirrored: bool


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

    The model is left as it was; nothing holds all inputs in memory, unless the model
    has memorised its labels and a fresh one must be trained.

    Args:
        model: a classifier, (B, ...) -> logits (B, C), or something with ``.logits``.
        data: a ``Split``; (inputs, labels) or (inputs, labels, ids) of tensors or numpy
            arrays, memory-mapped ones, too; a torch Dataset of (input, label[, id]).
        holdout: data of the same kind that the model has *not* been trained on, just
            as noisy; without it nobody can tell whether labels were memorised.
        recipe: how a fresh network is trained, where one is; by default ten epochs of
            Adam with a one-cycle learning rate.
        prepare: from a batch as stored to what the model takes; by default uint8
            becomes float in [0, 1].
        output: takes the logits from what the model returns.
        seed: of the folds and the heads.

    Raises ``TypeError`` and ``ValueError`` for unusable data or models.

    >>> print(rlap.diagnose(model, data).report().split(".")[1])
     No sign of bad inputs
    """
    network = Logits(check_model(model), output)
    check_recipe(recipe)
    samples = Samples(data, prepare)
    held = None if holdout is None else Samples(holdout, prepare, "holdout")
    return findings(
        network, samples, held, recipe or RECIPE, check_seed(seed)
    ).diagnosis


def findings(
    network: Logits, samples: Samples, held: Samples | None, recipe: Recipe, seed: int
) -> Findings:
    """``diagnose``, with what a repair needs beside the diagnosis."""
    check_gradients()
    seen = look(network, samples)
    check_two_classes(seen.labels)
    slice_ = None if held is None else look(network, held, seen.mirrored)
    if slice_ is not None:
        check_slice(seen, slice_)
    about = {"accuracy": seen.accuracy, "memorised": None, "held_accuracy": None}
    scorer, found, trust, notes = network, None, None, []
    if slice_ is not None:
        about["held_accuracy"] = slice_.accuracy
        notes = shared(seen, slice_)
    if slice_ is not None and len(slice_.labels) >= ENOUGH:
        lost = seen.accuracy - slice_.accuracy > MEMORISED
        if not lost:
            found, trust = _judge(seen, slice_, seed)
        about["memorised"] = lost or hidden(found, slice_, trust)
    if about["memorised"]:
        scorer = fresh_scorer(network, samples, recipe, seen.mirrored, seed)
        seen = look(scorer, samples, seen.mirrored)
        slice_ = look(scorer, held, seen.mirrored)
        honest = seen.accuracy - slice_.accuracy > MEMORISED
        if not honest:
            found, trust = _judge(seen, slice_, seed)
            honest = hidden(found, slice_, trust)
        if honest:  # the fresh one has learnt them by heart as well
            parts = (samples.read()[0], held.read()[0], recipe, seen.mirrored, seed)
            seen.probabilities, slice_.probabilities = cross_fitted(network, *parts)
            scorer = None
            found, trust = _judge(seen, slice_, seed, honest=True)
    elif found is None:
        found, trust = _judge(seen, slice_, seed)
    found = replace(found, notes=found.notes + notes, **about)
    return Findings(found, scorer, trust, seen.mirrored)


def check_slice(seen: Seen, slice_: Seen) -> None:
    """Raise ``ValueError`` where the held-out slice has classes that the data lack."""
    new = sorted(set(slice_.labels.tolist()) - set(seen.labels.tolist()))
    if new:
        raise ValueError(
            f"holdout has samples of class {', '.join(map(str, new))}, of which the "
            "data have none: it must be of the same kind"
        )


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


def hidden(found: Diagnosis, slice_: Seen, trust: Tensor) -> bool:
    """Whether the held-out slice, which nothing was trained on, surely has more wrong
    labels at its anchors than the data are said to have at most: labels that were
    learnt by heart look right."""
    good = trust > 0  # without bad inputs
    wrong, sizes = anchors(slice_.probabilities[good], slice_.labels[good])
    n = max(1.0, float(sizes.sum()))
    rate = float(wrong.sum()) / n
    least = rate - SURELY * (rate * (1 - rate) / n) ** 0.5
    return found.told and least > found.label_rate.high + MISLABELLED


def _judge(
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
    bad = bad_inputs(seen, fit)
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
    rate = _rate(wrong[keep], *(_joint_rate(m, targets[keep]) for m in matrices))
    if torch.equal(matrix, torch.eye(classes, device="cpu")):
        sure = both.gather(1, given[:, None]).squeeze(1)  # how well the label fits
        rate = Rate(0.0, 0.0, unshown(unseen[keep], given[keep]) if told else 1.0)
    found = Diagnosis(
        seen.ids, given, wrong, suggested, sure, targets, bad.probability,
        rate, _rate(bad.probability), matrix, bad.statistic, told=bool(told),
        notes=_notes(given, wrong, bad.probability, counts),
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
        trust = trust * (bad_inputs(together, fit).probability[n:] < 0.5)
    return found, trust


def ignorant(p: Tensor, given: Tensor) -> bool:
    """Whether p (N, C), predictions for samples not trained on, are too poor to tell
    anything of the labels given (N,): the surest samples often have other labels, the
    others still more often, and there are few. These may be wrong labels, or a network
    that knows too little; nothing here can say which."""
    wrong, sizes = anchors(p, given)
    surest = float(wrong.sum() / sizes.sum().clamp(min=1))
    rise = (p.argmax(1) != given).float().mean().item() - surest
    counts = given.bincount()
    few = counts[counts > 0].float().median() < PLENTY_OF_CLASS
    return bool(few and surest > IGNORANT and rise > RISING)


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
    """A share of wrong labels that may be there although no class seems mislabelled:
    the middle of what anchors and the confident joint count, and two standard errors.
    What they count may all be mistakes of the network."""
    (wrong, sizes), joint = anchors(p, given), confident_joint(p, given)
    counted = (wrong.sum() / sizes.sum().clamp(min=1)).item()
    total = joint.sum().clamp(min=1)
    mistaken = 1 - (joint.diagonal().sum() / total).item()
    value, n = (counted + max(counted, mistaken)) / 2, max(1.0, float(sizes.sum()))
    error = 2 * (value * (1 - value) / n) ** 0.5
    return min(1.0, max(value + error, NONE_SEEN / n))


def _joint_rate(matrix: Tensor, targets: Tensor) -> float:
    """Share of wrong labels by the transition matrix and the share of each class."""
    return float((targets.mean(0) * (1 - matrix.diagonal())).sum())


def _rate(probability: Tensor, *others: float) -> Rate:
    """The mean, from and to two standard errors beyond it or other estimates."""
    value = probability.mean().item()
    estimates = [value, *others]
    error = 2 * (value * (1 - value) / len(probability)) ** 0.5
    low, high = min(estimates) - error, max(estimates) + error
    return Rate(value, max(0.0, low), min(1.0, high))


def _notes(given: Tensor, wrong: Tensor, bad: Tensor, counts: Tensor) -> list[str]:
    """Classes that would lose far more samples than are bad in them."""
    notes = []
    lost = (wrong > 0.5) | (bad > 0.5)
    expected = 1 - (1 - wrong) * (1 - bad)
    for c in counts.nonzero().flatten().tolist():
        own = given == c
        share, due = lost[own].float().mean().item(), expected[own].mean().item()
        if share > due + NAMED or share > 0.5:
            notes.append(
                f"Class {c} would lose {share:.0%} of its {int(counts[c])} samples: "
                "look at them before you drop any."
            )
    return notes
