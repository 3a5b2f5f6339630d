"""The records of all three papers, by place, by what was varied, and by seed.

A place of the first paper is a protocol and a scale (``rlap.ledger.cells``); one of the
two papers on forgetting is a notebook, a tier and a network. What is varied is the
setting of data and noise, or the class that is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from rlap.data.images import CIFAR10_CLASSES
from rlap.experiments.forgetting.parameters import METHODS
from rlap.experiments.parameters import ARMS, NOTEBOOKS
from rlap.experiments.protocol import CIFAR10, PROTOCOLS
from rlap.ledger.cells import Setting, headline, is_full, scale_of, setting_of
from rlap.ledger.verdicts import MIN_SEEDS

NOTEBOOK = "05_protocols"
NPP, OSP, RIVALS = "03_relevance", "04_soft_pruning", "07_rivals"
FORGETTING = (NPP, OSP, RIVALS)
FREE = {"seed", "forget", "model", "methods", "tier", "strength"}  # of forgetting
SMOKE = "smoke"  # shows that everything runs; never a result
SCALES = ("small", "small/resnet18-16", "paper")  # planned

Quantity = Callable[[Mapping], float | None]  # of one record


@dataclass(frozen=True, order=True)
class Place:
    """A notebook's runs with one network in one tier and, for OSP, one ``strength`` of
    the penalty in training."""

    notebook: str
    tier: str
    model: str
    strength: float | None = None


def is_usual(record: Mapping) -> bool:
    """Whether all that forgetting does not leave free is what the tier chooses."""
    asked = record["parameters"]
    given = {k: v for k, v in asked.items() if k in FREE}
    chosen = NOTEBOOKS[record["notebook"]].from_mapping(given).resolved().identity()
    return chosen == dict(asked)


@dataclass
class Runs:
    """Records of one place, by what was varied (a ``Setting``, a forgotten class) and
    seed: the one with most arms in ``found``, those with fewer in ``fewer``."""

    place: Hashable = ("", "")
    found: dict[Hashable, dict[int, Mapping]] = field(default_factory=dict)
    fewer: dict[Hashable, dict[int, list[Mapping]]] = field(default_factory=dict)

    def at(self, setting: Hashable) -> dict[int, Mapping]:
        """Records of a setting by seed; empty when there are none."""
        return self.found.get(setting, {})

    def every(self, setting: Hashable) -> dict[int, list[Mapping]]:
        """All records of a setting by seed, the one with most arms first."""
        fewer = self.fewer.get(setting, {})
        return {s: [r, *fewer.get(s, [])] for s, r in self.at(setting).items()}

    def all(self) -> list[Mapping]:
        """Every record, seed by seed."""
        return [record for found in self.seeds.values() for record in found.values()]

    @property
    def seeds(self) -> dict[int, dict[Hashable, Mapping]]:
        """The same records, by seed first."""
        by_seed: dict[int, dict[Hashable, Mapping]] = {}
        for setting, seeds in self.found.items():
            for seed, record in seeds.items():
                by_seed.setdefault(seed, {})[setting] = record
        return by_seed

    def each(
        self, settings: Sequence[Setting], of: Quantity
    ) -> dict[Setting, dict[int, float]]:
        """A quantity by setting and seed, where there are any; the settings are those
        that were run, with their true number of images."""
        found = {}
        for own in (s for wanted in settings for s in self.found if s == wanted):
            seeds = {s: of(r) for s, r in self.found[own].items()}
            if seeds := {s: v for s, v in seeds.items() if v is not None}:
                found[own] = seeds
        return found

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
            setting: {s: r for s, r in seeds.items() if set(arms) <= set(r["arms"])}
            for setting, seeds in self.found.items()
        }
        return Runs(self.place, {k: seeds for k, seeds in kept.items() if seeds})

    def headline(self, dataset: str = CIFAR10) -> Setting:
        """The headline setting. At the paper's own scale, where the full size takes a
        GPU, the largest size of Table 1 that was run stands in for it."""
        first = headline(dataset)
        sizes = [s.size for s in self.found if s == replace(first, size=s.size)]
        if is_full(self.place[1]) and sizes:
            return replace(first, size=max(sizes))
        return first


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


@dataclass
class Evidence:
    """Records by place. ``twice`` lists records that claim the same seed of the same
    setting: which one holds is not known, so neither is used."""

    files: dict[Hashable, Runs] = field(default_factory=dict)
    twice: list[tuple[Mapping, Mapping]] = field(default_factory=list)

    def runs(self, *place: str) -> Runs:
        """The runs of a protocol and scale; none, if there are none."""
        return self.files.get(place, Runs(place))

    def at(self, protocol: str, scale: str, setting: Setting) -> dict[int, Mapping]:
        """Records of a setting by seed; empty when there are none."""
        return self.runs(protocol, scale).at(setting)

    def every(
        self, protocol: str, scale: str, setting: Setting
    ) -> dict[int, list[Mapping]]:
        """All records of a setting by seed, the one with most arms first."""
        return self.runs(protocol, scale).every(setting)

    def settings(self, protocol: str, scale: str) -> list[Setting]:
        """The settings that were run."""
        return list(self.runs(protocol, scale).found)

    def places(self) -> list[tuple[str, str]]:
        """Protocols and scales that have a place in the ledger: the named protocols, at
        the planned scales and at any other that was run by that protocol."""
        return [
            (protocol, scale)
            for protocol in PROTOCOLS
            for scale in dict.fromkeys(
                [*SCALES, *sorted(s for name, s in self.files if name == protocol)]
            )
        ]

    def __iter__(self) -> Iterator[Mapping]:
        for runs in self.files.values():
            for seeds in runs.found.values():
                yield from seeds.values()


def file_records(
    records: Sequence[Mapping], notebooks: Sequence[str] = (NOTEBOOK,)
) -> Evidence:
    """Sort the records of some notebooks into ``Evidence``.

    Left out: the smoke tier, stand-in data and, where a class is forgotten, settings
    that are not the tier's own. Of two runs of one seed that differ only in which arms
    they have, the one with more arms is taken; the other stays beside it.
    """
    evidence = Evidence()
    filed: dict[tuple, list[Mapping]] = {}
    for record in records:
        unfit = record["tier"] == SMOKE or record["data"]["stand_in"]
        if record["notebook"] not in notebooks or unfit:
            continue
        if where := address(record):
            filed.setdefault((*where, record["seed"]), []).append(record)
    for (place, setting, seed), found in filed.items():
        first, *fewer = sorted(found, key=rank, reverse=True)
        runs = evidence.files.setdefault(place, Runs(place))
        seeds = runs.found.setdefault(setting, {})
        if fewer and rank(first) == rank(fewer[0]):
            evidence.twice.append((first, fewer[0]))
        else:
            seeds[seed] = first
            runs.fewer.setdefault(setting, {})[seed] = fewer
    return evidence


def file_forgetting(records: Sequence[Mapping]) -> dict[Place, Runs]:
    """The runs of the notebooks that forget a class, by place."""
    return dict(sorted(file_records(records, FORGETTING).files.items()))


def address(record: Mapping) -> tuple[Hashable, Hashable] | None:
    """Place and setting of a record; None for one that belongs nowhere."""
    if record["notebook"] == NOTEBOOK:
        return (record["protocol"], scale_of(record)), setting_of(record)
    if not is_usual(record):
        return None
    asked = record["parameters"]
    where = record["notebook"], record["tier"], asked["model"], asked.get("strength")
    return Place(*where), asked["forget"]


def rank(record: Mapping) -> int:
    """Where a record's choice of arms, or of methods, stands from few to many."""
    asked = record["parameters"]
    for name, order in (("arms", ARMS), ("methods", METHODS)):
        if asked.get(name) in order:
            return order.index(asked[name])
    return 0
