"""What the runs of the two notebooks on forgetting hold: by seed and class, and the
quantities of one record that claims are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from rlap.data.images import CIFAR10_CLASSES
from rlap.experiments.forgetting.parameters import METHODS
from rlap.experiments.parameters import NOTEBOOKS
from rlap.ledger.verdicts import MIN_SEEDS

NPP, OSP = "03_relevance", "04_soft_pruning"
LEFT = 0.02  # accuracy on the class that counts as nothing left
AUTHORS_LEFT = 0.0526  # in their result files: training images, mean of five runs
FREE = {"seed", "forget", "model", "methods", "tier", "strength"}

Quantity = Callable[[Mapping], float | None]


@dataclass(frozen=True, order=True)
class Place:
    """A notebook's runs with one network in one tier and, for OSP, one ``strength`` of
    the penalty in training."""

    notebook: str
    tier: str
    model: str
    strength: float | None = None


@dataclass
class Runs:
    """Records of a place by seed and class."""

    seeds: dict[int, dict[str, Mapping]] = field(default_factory=dict)

    def values(
        self, of: Quantity, over: Callable[[list[float]], float] = fmean
    ) -> tuple[list[float], int]:
        """A value a seed, and over how many classes.

        Every seed has to have the same classes. Not all have: some seeds are of few
        methods, and a sweep may be under way; see ``common``.
        """
        table = {
            seed: {name: v for name, r in found.items() if (v := of(r)) is not None}
            for seed, found in self.seeds.items()
        }
        seeds, classes = common(table)
        return [over([table[s][c] for c in classes]) for s in seeds], len(classes)

    def only(self, arms: Sequence[str]) -> Runs:
        """The records that have all these arms."""
        kept = {
            seed: {c: r for c, r in found.items() if set(arms) <= set(r["arms"])}
            for seed, found in self.seeds.items()
        }
        return Runs({seed: found for seed, found in kept.items() if found})

    def all(self) -> list[Mapping]:
        """Every record."""
        return [record for found in self.seeds.values() for record in found.values()]


def common(table: Mapping[int, Mapping[str, object]]) -> tuple[list[int], list[str]]:
    """Seeds, and the classes that all of them have: of the choices with as many seeds
    as a verdict needs the one with the most classes, then the most seeds."""
    ordered = sorted(table, key=lambda seed: (-len(table[seed]), seed))
    best: tuple[list[int], list[str]] = [], []
    rank = (0, 0, 0)
    for n in range(1, len(ordered) + 1):
        shared = set.intersection(*(set(table[seed]) for seed in ordered[:n]))
        worth = min(n, MIN_SEEDS), len(shared), n
        if shared and worth > rank:
            best = sorted(ordered[:n]), [c for c in CIFAR10_CLASSES if c in shared]
            rank = worth
    return best


def filed(records: Sequence[Mapping]) -> dict[Place, Runs]:
    """Records of the two notebooks by place.

    Left out: the smoke tier, stand-in data, and settings that are not the tier's own
    but for seed, class, network and the penalty's strength. Of two runs of one class
    and seed, the one with more methods is taken.
    """
    places: dict[Place, Runs] = {}
    for record in records:
        asked = record["parameters"]
        if (
            record["notebook"] not in (NPP, OSP)
            or record["tier"] == "smoke"
            or record["data"]["stand_in"]
            or not is_usual(record)
        ):
            continue
        where = record["notebook"], record["tier"], asked["model"]
        place = Place(*where, asked.get("strength"))
        runs = places.setdefault(place, Runs())
        classes = runs.seeds.setdefault(record["seed"], {})
        other = classes.get(asked["forget"])
        if other is None or rank(other) < rank(record):
            classes[asked["forget"]] = record
    return dict(sorted(places.items()))


def is_usual(record: Mapping) -> bool:
    """Whether all but what is in ``FREE`` is what the tier chooses."""
    asked = record["parameters"]
    given = {k: v for k, v in asked.items() if k in FREE}
    usual = NOTEBOOKS[record["notebook"]].from_mapping(given).resolved().identity()
    return usual == dict(asked)


def rank(record: Mapping) -> int:
    """How many of the methods a record has."""
    asked = record["parameters"].get("methods")
    return METHODS.index(asked) if asked in METHODS else 0


# --- quantities of one record ------------------------------------------------------


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
    "relearning with a new head": ("relearn_fresh_head", "relearn_fresh_head_others"),
    "being told from retrained": ("told_from_retrain_auc",),
}


def distance(relative: Mapping[str, float], name: str) -> float:
    """How far a measure is from the retrained networks': to be told from them *less*
    than they are from one another is not far."""
    value = relative[name]
    return max(0.0, value) if name == "told_from_retrain_auc" else abs(value)


def nearer_by(arm: str, other: str, measures: Sequence[str]) -> Quantity:
    """By how much an arm is nearer to the retrained networks than another: the mean of
    its distances over ``measures``; None where a record lacks either."""

    def of(record: Mapping) -> float | None:
        arms = record["arms"]
        if arm not in arms or other not in arms:
            return None
        ours, theirs = (arms[name]["relative"] for name in (arm, other))
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
