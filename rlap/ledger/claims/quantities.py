"""What a claim measures in one record: gaps between arms, areas, shares of seconds; of
runs that forget a class, what is left of it and what it cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from rlap.corruption.corrupted import INPUT_KINDS
from rlap.experiments.protocol import protocol_of
from rlap.ledger.cells import epoch_seconds
from rlap.ledger.evidence import Quantity

# what each arm needs between the initial training and its own. Who trains on the good
# part alone has to find it first, retraining included.
FIND = ("attribution", "partition")
CHOOSE = ("activations", "sensitivity", "pruning")
BETWEEN = {
    "L-FT": (*FIND, *CHOOSE),
    "F-FT": (*FIND, *CHOOSE),
    "continue": (),
    "retrain": FIND,
}


def accuracy(record: Mapping, arm: str) -> float | None:
    """Accuracy of an arm; None where the record lacks it."""
    return record["arms"].get(arm, {}).get("accuracy")


def minus(one: float | None, other: float | None) -> float | None:
    """The difference, where both are known."""
    return None if one is None or other is None else one - other


def gap(arm: str, other: str) -> Quantity:
    """Accuracy of one arm minus another's; None where the record lacks one.

    >>> arms = {"F-FT": {"accuracy": 0.75}, "retrain": {"accuracy": 0.5}}
    >>> gap("F-FT", "retrain")({"arms": arms})
    0.25
    """
    return lambda record: minus(accuracy(record, arm), accuracy(record, other))


def noisier_part_costs(record: Mapping) -> float | None:
    """The initial network minus F-FT on the noisier part, whichever was kept; None
    where the record lacks F-FT on one of the parts."""
    arms = ("F-FT/wrong cluster", "F-FT")
    costs = [gap("initial", arm)(record) for arm in arms]
    if None in costs:  # else runs would count by which part they kept
        return None
    return costs[0] if record["partition"]["oriented_right"] else costs[1]


def cleaner_part_gains(record: Mapping) -> float | None:
    """F-FT on the cleaner part minus F-FT on the other; None where one is missing."""
    worth = gap("F-FT", "F-FT/wrong cluster")(record)
    if worth is None:
        return None
    return worth if record["partition"]["oriented_right"] else -worth


def decayed_gap(arm: str) -> Quantity:
    """An arm minus a retrain whose rate decays over the total of epochs: an arm of its
    own, unless it is what the protocol's retrain does anyway."""

    def of(record: Mapping) -> float | None:
        other = "retrain decayed"
        if other not in record["arms"]:
            asked = protocol_of(record["protocol"])
            own = asked.decay == "onecycle" and asked.retrain_epochs == "total"
            other = "retrain" if own else other
        return gap(arm, other)(record)

    return of


def attacked_gap(rate: str, arm: str = "F-FT", other: str = "retrain") -> Quantity:
    """The same on a test set of which a share ``rate`` is attacked."""

    def of(record: Mapping) -> float | None:
        attacked = record.get("attacked", {})
        scores = [attacked.get(name, {}).get(rate, {}) for name in (arm, other)]
        return minus(*(score.get("accuracy") for score in scores))

    return of


def auroc(record: Mapping) -> float | None:
    """How well the partition tells the corrupted samples, whichever part it kept."""
    area = record.get("partition", {}).get("detection", {}).get("auroc")
    return None if area is None else max(area, 1 - area)


def split_accuracy(record: Mapping) -> float | None:
    """Share of the samples that the partition put on their right side, whichever part
    it kept."""
    right = record.get("partition", {}).get("detection", {}).get("accuracy")
    return None if right is None else max(right, 1 - right)


def saved_an_epoch(arm: str) -> Quantity:
    """Share of retraining's seconds an epoch that an arm saves."""

    def of(record: Mapping) -> float | None:
        arms = record["arms"]
        if arm not in arms or "retrain" not in arms:
            return None
        own, base = (epoch_seconds(arms[name]["history"]) for name in (arm, "retrain"))
        return None if not own or not base else 1 - own / base

    return of


def saved_in_all(arm: str) -> Quantity:
    """Share of retraining's seconds that an arm saves, each with what it needs between
    the initial training and its own."""

    def of(record: Mapping) -> float | None:
        arms = record["arms"]
        if arm not in arms or not arms.get("retrain", {}).get("seconds"):
            return None
        own, base = (
            arms[name]["seconds"] + seconds_between(record, name)
            for name in (arm, "retrain")
        )
        return 1 - own / base

    return of


def seconds_between(record: Mapping, arm: str) -> float:
    """Seconds after the initial training and before the arm's own: of what is recorded
    for all criteria together, one criterion's share."""
    stages = dict(record.get("seconds", {}))
    criteria = max(1, len(record.get("units_by_criterion", ())))
    for name in ("sensitivity", "pruning"):
        if name == "sensitivity" and passes_within(record):
            continue
        stages[name] = stages.get(name, 0.0) / criteria
    return math.fsum(stages.get(name, 0.0) for name in BETWEEN.get(arm, ()))


def passes_within(record: Mapping) -> bool:
    """Whether the seconds of "sensitivity" hold the pass over redrawn noise, which is
    made once, whatever the number of criteria: in records from before it had a stage of
    its own, "activations"."""
    # such a stage is counted whole: the pass takes seconds, all criteria some tenths
    redraws = protocol_of(record["protocol"]).redraw
    noisy = record["parameters"]["kind"] in INPUT_KINDS
    return redraws and noisy and "activations" not in record["seconds"]


# --- of runs that forget a class ----------------------------------------------------

LEFT = 0.02  # accuracy on the class that counts as nothing left


def left(arm: str, level: float = LEFT, part: str = "forget_test") -> Quantity:
    """How far the accuracy on the class's test samples (or another ``part``) lies below
    what counts as nothing left."""
    return lambda record: level - record["arms"][arm][part]


def kept(arm: str, original: str = "original") -> Quantity:
    """Accuracy on the other classes, less the original's."""
    return lambda record: (
        record["arms"][arm]["retain_test"] - record["arms"][original]["retain_test"]
    )


def selectivity(record: Mapping, arm: str) -> float:
    """What the class lost in accuracy less what the others lost, in [-1, 1].

    ``arm`` is one of the record's arms, or "controls: " and the name of a control; of
    the plain network are "plain/" arms and "plain, " controls.
    """
    kind, _, name = arm.rpartition(": ")
    network = "plain/" if name.startswith(("plain/", "plain, ")) else ""
    start = record["arms"][f"{network}original"]
    if kind == "controls":
        end = record["controls"][name]
        forget, retain = end["forget"], end["retain"]
    else:
        end = record["arms"][arm]
        forget, retain = end["forget_test"], end["retain_test"]
    return (start["forget_test"] - forget) - (start["retain_test"] - retain)


def more_selective(arm: str, other: str) -> Quantity:
    """Selectivity of one arm less another's."""
    return lambda record: selectivity(record, arm) - selectivity(record, other)


def nearer(arm: str, other: str) -> Quantity:
    """By how much the average gap to the retrained networks is smaller."""
    return lambda record: (
        record["arms"][other]["relative"]["average_gap"]
        - record["arms"][arm]["relative"]["average_gap"]
    )


# what is known of the class, and what of the others by the same means: a network that
# knows nothing at all is no nearer to one that was retrained
KNOWN = {
    "a linear probe": ("probe_linear_forget", "probe_linear_retain"),
    "nearest class means": ("probe_nearest_mean_forget", "probe_nearest_mean_retain"),
    "relearning with a new last layer": (
        "relearn_fresh_head",
        "relearn_fresh_head_others",
    ),
    "being told from retrained": ("told_from_retrain_auc",),
}


def distance(relative: Mapping[str, float], name: str) -> float:
    """How far a measure is from the retrained networks': to be told from them *less*
    than they are from one another is not far."""
    value = relative[name]
    return max(0.0, value) if name == "told_from_retrain_auc" else abs(value)


def nearer_by(arm: str, other: str, measures: Sequence[str]) -> Quantity:
    """By how much an arm is nearer to the retrained networks than another: the mean of
    its distances over ``measures``; None where a record lacks either, or a relearning
    of one diverged and has no number."""

    def of(record: Mapping) -> float | None:
        arms = record["arms"]
        if arm not in arms or other not in arms:
            return None
        ours, theirs = (arms[name]["relative"] for name in (arm, other))
        if any(one.get(m) is None for one in (ours, theirs) for m in measures):
            return None
        return fmean(distance(theirs, m) - distance(ours, m) for m in measures)

    return of


def features_know(arm: str) -> Quantity:
    """Minus what a linear probe finds of the class beyond the retrained networks."""
    return lambda record: -record["arms"][arm]["relative"]["probe_linear_forget"]


def saved(arm: str) -> Quantity:
    """Share of retraining's seconds that an arm saves."""
    return lambda record: (
        1 - (record["arms"][arm]["seconds"] / record["arms"]["retrained"]["seconds"])
    )


def saved_with_preparation(record: Mapping) -> float | None:
    """The same for OSP with the pass over the data and the longer training: what the
    penalty adds to a step, times a plain training; None where that was not timed."""
    if "penalty_share" not in record:
        return None
    arms = record["arms"]
    training = (record["penalty_share"] - 1) * arms["plain/original"]["seconds"]
    whole = arms["osp"]["seconds"] + record["statistics_seconds"]["orthogonal"]
    return 1 - (whole + training) / arms["plain/retrained"]["seconds"]


def decorrelated(record: Mapping) -> float:
    """Mean |correlation| of channels over the layers, plain less orthogonal."""
    mechanism = record["mechanism"]
    return correlation(mechanism["plain"]) - correlation(mechanism["orthogonal"])


def correlation(mechanism: Mapping) -> float:
    """Mean |correlation| of channels over the layers that the penalty trains: whitening
    is set from data, and the same with and without."""
    return fmean(mechanism["correlation"][name] for name in mechanism["gram_parts"])
