"""What the runs of the two notebooks on forgetting hold: by seed and class, and the
quantities of one record that claims are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from rlap.data.images import CIFAR10_CLASSES
from rlap.experiments.parameters import NOTEBOOKS
from rlap.experiments.unlearning_parameters import METHODS

NPP, OSP = "03_relevance", "04_soft_pruning"
LEFT = 0.02  # accuracy on the class that counts as nothing left
FREE = {"seed", "forget", "model", "methods", "tier"}

Quantity = Callable[[Mapping], float | None]


@dataclass(frozen=True, order=True)
class Place:
    """A notebook's runs with one network in one tier."""

    notebook: str
    tier: str
    model: str


@dataclass
class Runs:
    """Records of a place by seed and class."""

    seeds: dict[int, dict[str, Mapping]] = field(default_factory=dict)

    def classes(self) -> list[str]:
        """The classes that every seed has."""
        common = [set(found) for found in self.seeds.values()]
        shared = set.intersection(*common) if common else set()
        return [name for name in CIFAR10_CLASSES if name in shared]

    def values(
        self, of: Quantity, over: Callable[[list[float]], float] = fmean
    ) -> tuple[list[float], int]:
        """A value a seed, and over how many classes: those where no seed lacks it."""
        table = {
            name: [of(self.seeds[seed][name]) for seed in sorted(self.seeds)]
            for name in self.classes()
        }
        whole = [row for row in table.values() if None not in row]
        by_seed = [over(list(column)) for column in zip(*whole, strict=True)]
        return by_seed, len(whole)


def filed(records: Sequence[Mapping]) -> dict[Place, Runs]:
    """Records of the two notebooks by place.

    Left out: the smoke tier, stand-in data, and settings that are not the tier's own
    but for seed, class and network. Of two runs of one class and seed, the one with
    more methods is taken.
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
        place = Place(record["notebook"], record["tier"], asked["model"])
        runs = places.setdefault(place, Runs())
        classes = runs.seeds.setdefault(record["seed"], {})
        other = classes.get(asked["forget"])
        if other is None or rank(other) < rank(record):
            classes[asked["forget"]] = record
    return dict(sorted(places.items()))


def is_usual(record: Mapping) -> bool:
    """Whether all but seed, class, network and methods is what the tier chooses."""
    asked = record["parameters"]
    given = {k: v for k, v in asked.items() if k in FREE}
    usual = NOTEBOOKS[record["notebook"]].from_mapping(given).resolved().identity()
    return usual == dict(asked)


def rank(record: Mapping) -> int:
    """How many of the methods a record has."""
    asked = record["parameters"].get("methods")
    return METHODS.index(asked) if asked in METHODS else 0


# --- quantities of one record ------------------------------------------------------


def left(arm: str) -> Quantity:
    """How far the accuracy on the class lies below what counts as nothing left."""
    return lambda record: LEFT - record["arms"][arm]["forget_test"]


def kept(arm: str, original: str = "original") -> Quantity:
    """Accuracy on the other classes, less the original's."""
    return lambda record: (
        record["arms"][arm]["retain_test"] - record["arms"][original]["retain_test"]
    )


def selectivity(record: Mapping, arm: str) -> float:
    """What the class lost in accuracy less what the others lost, in [-1, 1].

    ``arm`` is one of the record's arms, or "controls: " and the name of a control.
    """
    kind, _, name = arm.rpartition(": ")
    network = "plain/" if arm.startswith("plain/") else ""
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


def features_know(arm: str) -> Quantity:
    """Minus what a linear probe finds of the class beyond the retrained networks."""
    return lambda record: -record["arms"][arm]["relative"]["probe_linear_forget"]


def saved(arm: str) -> Quantity:
    """Share of retraining's seconds that an arm saves."""
    return lambda record: (
        1 - (record["arms"][arm]["seconds"] / record["arms"]["retrained"]["seconds"])
    )


def saved_with_preparation(record: Mapping) -> float:
    """The same for OSP with the pass over the data and the longer training."""
    arms = record["arms"]
    training = arms["original"]["seconds"] - arms["plain/original"]["seconds"]
    whole = arms["osp"]["seconds"] + record["statistics_seconds"]["orthogonal"]
    return 1 - (whole + max(0.0, training)) / arms["plain/retrained"]["seconds"]


def decorrelated(record: Mapping) -> float:
    """Mean |correlation| of channels over the layers, plain less orthogonal."""
    plain, orthogonal = (
        fmean(record["mechanism"][kind]["correlation"].values())
        for kind in ("plain", "orthogonal")
    )
    return plain - orthogonal
