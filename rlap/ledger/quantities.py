"""What a claim measures in one record: gaps between arms, areas, shares of seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from rlap.experiments.protocol import protocol_of
from rlap.ledger.evidence import epoch_seconds

Quantity = Callable[[Mapping], float | None]
# what each arm needs between the initial training and its own. Who trains on the good
# part alone has to find it first, retraining included.
FIND = ("attribution", "partition")
BETWEEN = {
    "L-FT": (*FIND, "sensitivity", "pruning"),
    "F-FT": (*FIND, "sensitivity", "pruning"),
    "continue": (),
    "retrain": FIND,
}


def accuracy(record: Mapping, arm: str) -> float | None:
    """Accuracy of an arm; None where the record lacks it."""
    return record["arms"].get(arm, {}).get("accuracy")


def gap(arm: str, other: str) -> Quantity:
    """Accuracy of one arm minus another's; None where the record lacks one."""

    def of(record: Mapping) -> float | None:
        arms = record["arms"]
        if arm not in arms or other not in arms:
            return None
        return arms[arm]["accuracy"] - arms[other]["accuracy"]

    return of


def noisier_part_costs(record: Mapping) -> float | None:
    """The initial model minus F-FT on the noisier part, whichever was kept; None where
    the record lacks F-FT on one of the parts."""
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
        scores = [attacked.get(name, {}).get(rate) for name in (arm, other)]
        return None if None in scores else scores[0]["accuracy"] - scores[1]["accuracy"]

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
    """Seconds after the initial training and before the arm's own."""
    stages = dict(record.get("seconds", {}))
    for name in ("sensitivity", "pruning"):  # recorded for all criteria together
        criteria = max(1, len(record.get("units_by_criterion", ())))
        stages[name] = stages.get(name, 0.0) / criteria
    return math.fsum(stages.get(name, 0.0) for name in BETWEEN.get(arm, ()))
