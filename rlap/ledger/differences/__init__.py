"""The register of differences: what each of them is worth, computed from records.

``differences.yml`` lists 43 findings, of our reading of the released code. One with a
protocol field is measured by runs that differ in that field alone, paired by seed:
"released+shuffle=true" minus "released". A pair counts if both runs have the same
network but for what the field changes: runs of one seed, recorded by two states of the
code, need not. Nothing here is typed: without runs it says "not run".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from itertools import product

import numpy as np
import yaml

from rlap.experiments.protocol import (
    CIFAR10,
    PROTOCOLS,
    Protocol,
    acts_on,
    changed_name,
    protocol_of,
    spelled,
    steps,
)
from rlap.ledger.cells import Setting
from rlap.ledger.claims.noise import RIVALS
from rlap.ledger.claims.quantities import accuracy, gap
from rlap.ledger.differences.findings import FINDINGS, TABLES
from rlap.ledger.evidence import Evidence
from rlap.ledger.summary import Interval, interval
from rlap.ledger.verdicts import MIN_SEEDS

ARMS = ("pruned", "L-FT", "F-FT", "retrain", "initial")
TUNED, PRUNED = ("L-FT", "F-FT"), ("pruned", "L-FT", "F-FT")
KEPT = (*PRUNED, "retrain")  # what depends on the partition
# the arms that a field can change, where not all: what comes after the initial training
LATE = {
    **dict.fromkeys(("cluster", "covariance", "start", "attribution"), KEPT),
    **dict.fromkeys(("target", "bias", "standardise"), PRUNED),
    **dict.fromkeys(("mask", "finetune_decay"), TUNED),
    **dict.fromkeys(("head_batchnorm", "head"), ("L-FT",)),
    **dict.fromkeys(("retrain_epochs", "retrain_mode"), ("retrain",)),
}
PLACES = {
    "A": "partition",
    "B": "pruning",
    "C": "training and controls",
    "D": "rival criteria",
    "E": "noise",
    "F": "time",
    "G": "reporting",
    "H": "headline claims",
    "I": "speech",
    "J": "MNIST",
}


@dataclass(frozen=True)
class Difference:
    """One finding: how it is measured, or why it is not. One of ``field``, ``arms``,
    ``tables``, ``records`` and ``none`` is set; ``records`` may join a field."""

    number: int
    where: str
    title: str
    field: str = ""
    value: str = ""  # the one value of the field that answers it; "": any
    also: str = ""  # a second field of the same finding
    arms: tuple[str, str] | None = None
    tables: str = ""
    records: str = ""  # a function of rlap.ledger.findings
    none: str = ""
    dataset: str = CIFAR10

    @property
    def fields(self) -> list[str]:
        """The protocol fields that isolate it, each alone."""
        return [name for name in (self.field, self.also) if name]


@dataclass(frozen=True)
class Effect:
    """A measured effect on the accuracy of an arm: ``what`` minus ``base``."""

    what: str
    base: str
    tier: str
    arm: str
    setting: Setting
    difference: Interval
    seeds: tuple[int, ...]


@cache
def register() -> tuple[Difference, ...]:
    """The findings in order; ``ValueError`` for one that is not complete."""
    text = (
        files("rlap.ledger.differences").joinpath("differences.yml").read_text("utf-8")
    )
    found = []
    for entry in yaml.safe_load(text):
        ways = [k for k in ("field", "arms", "tables", "none") if k in entry]
        if len(ways) != 1 and (ways or "records" not in entry):
            raise ValueError(f"difference {entry['number']} has {len(ways)} ways")
        if "arms" in entry:
            entry["arms"] = tuple(entry["arms"])
        found.append(Difference(**entry))
    return tuple(found)


def is_measured(evidence: Evidence, difference: Difference) -> bool:
    """Whether any run says something about a finding."""
    return bool(effects(evidence, difference) or from_records(evidence, difference))


def is_open(evidence: Evidence, difference: Difference) -> bool:
    """Whether no run measures a finding that is not about the printed numbers; what all
    records say of one with a field of its own is not what the field is worth."""
    told = not difference.fields and from_records(evidence, difference)
    return not (difference.tables or told or effects(evidence, difference))


def from_records(evidence: Evidence, difference: Difference) -> list[str]:
    """What the records say of a finding beside a field's effect, in words."""
    name = difference.records
    return FINDINGS[name](evidence) if name else []


def effects(evidence: Evidence, difference: Difference) -> list[Effect]:
    """What the records say about a finding: of ``MIN_SEEDS`` and more; empty when
    nothing was run."""
    return [e for e in every_effect(evidence, difference) if enough(e)]


def enough(effect: Effect) -> bool:
    """Whether an effect has as many seeds as an interval needs to mean anything."""
    return effect.difference.n >= MIN_SEEDS


def every_effect(evidence: Evidence, difference: Difference) -> list[Effect]:
    """The same of any number of seeds."""
    if difference.arms:
        return arm_effects(evidence, *difference.arms, difference.dataset)
    found = [e for name in difference.fields for e in field_effects(evidence, name)]
    return [e for e in found if answers(difference, e.what)]


def answers(difference: Difference, what: str) -> bool:
    """Whether "field=value" is about the value that a finding asks for, if it does."""
    field, _, value = what.partition("=")
    return field != difference.field or difference.value in ("", value)


def touched(name: str) -> tuple[str, ...]:
    """The arms that a field can change."""
    if about(name)["rivals_only"]:
        return tuple(f"F-FT/{rival}" for rival in RIVALS)
    return LATE.get(name, ARMS)


def field_effects(evidence: Evidence, name: str) -> list[Effect]:
    """The effects of a field on each arm that it can change, in every setting: every
    two protocols of which this field alone sets the arm apart. The one with the value
    that was released is the base. Fields that cannot change the arm may differ; of such
    pairs the one with most seeds is taken, then the one of most runs by one code."""
    best: dict[tuple, tuple[tuple[int, int], Effect]] = {}
    for base, scale in evidence.files:
        for other in [text for text, tier in evidence.files if tier == scale]:
            if not nearer_to_released(base, other, name):
                continue
            for setting in evidence.settings(other, scale):
                for arm in touched(name):
                    dataset = setting.dataset
                    if set_apart(base, other, dataset, arm) != {name}:
                        continue
                    pairs = paired(evidence, base, other, scale, setting, arm)
                    if not pairs:
                        continue
                    worth = interval(
                        [accuracy(b, arm) - accuracy(a, arm) for a, b in pairs.values()]
                    )
                    what = f"{name}={value_of(other, name)}"
                    shown = essence(base, arm, dataset)
                    rank = len(pairs), sum(map(one_code, pairs.values()))
                    effect = Effect(
                        what, shown, scale, arm, setting, worth, tuple(pairs)
                    )
                    key = what, plain(base, arm, dataset), scale, arm, setting
                    if key not in best or best[key][0] < rank:
                        best[key] = rank, effect
    return [effect for _, effect in best.values()]


@cache
def set_apart(base: str, other: str, dataset: str, arm: str = "") -> set[str]:
    """The fields in which two protocols differ, of those that can change an arm ("":
    any) on a data set."""
    changed = protocol_of(other).changes_from(protocol_of(base))
    return {k for k in changed if changes(k, dataset, arm)}


@cache
def changes(name: str, dataset: str, arm: str = "") -> bool:
    """Whether a field can change an arm ("": any of the method's own)."""
    acts = dataset in about(name)["on"] and (acts_on(name, dataset) or "/" in arm)
    return acts and (not arm or arm in touched(name) or arm.startswith("F-FT/"))


def paired(
    evidence: Evidence, base: str, other: str, scale: str, setting: Setting, arm: str
) -> dict[int, tuple[Mapping, Mapping]]:
    """The runs of two protocols that have an arm, by seed, if they are of one and the
    same network but for what the protocols change. Of several runs of a seed, which
    differ in their other arms, the first such pair."""
    before, after = (evidence.every(text, scale, setting) for text in (base, other))
    apart = frozenset(set_apart(base, other, setting.dataset))
    found = {}
    for seed in sorted(before.keys() & after.keys()):
        both = product(before[seed], after[seed])
        able = (p for p in both if all(arm in record["arms"] for record in p))
        if pair := next((p for p in able if one_network(*p, apart)), None):
            found[seed] = pair
    return found


def one_network(one: Mapping, other: Mapping, apart: Set[str]) -> bool:
    """Whether two runs of a seed have the same network but for the fields that set them
    ``apart``: what these cannot change is the same to the last image. Where they change
    the training itself nothing can be compared, and the code has to be the same."""
    same = [
        arm
        for arm in ARMS
        if arm in one["arms"]
        and arm in other["arms"]
        and not any(arm in touched(name) for name in apart)
    ]
    if same:
        return all(accuracy(one, arm) == accuracy(other, arm) for arm in same)
    return one_code((one, other))


def one_code(pair: Sequence[Mapping]) -> bool:
    """Whether one state of the code made both records."""
    one, other = (record["identity"]["code"] for record in pair)
    return one == other


def lone_pairs(evidence: Evidence) -> int:
    """How many pairs of runs of a seed, set apart by a single field from a named
    protocol, are not of one network."""
    return sum(
        not any(one_network(*pair, frozenset(apart)) for pair in product(bases, runs))
        for text, scale in evidence.files
        for base in [text.partition("+")[0]]
        for setting in evidence.settings(text, scale)
        for apart in [set_apart(base, text, setting.dataset)]
        if len(apart) == 1
        for seed, runs in evidence.every(text, scale, setting).items()
        if (bases := evidence.every(base, scale, setting).get(seed))
    )


@cache
def plain(text: str, arm: str, dataset: str) -> tuple[object, ...]:
    """The values of the fields that can change an arm."""
    protocol = protocol_of(text)
    names = [f.name for f in fields(Protocol) if changes(f.name, dataset, arm)]
    return tuple(getattr(protocol, name) for name in names)


@cache
def essence(text: str, arm: str, dataset: str) -> str:
    """A protocol's name without the changes that cannot reach an arm; a step of the
    walk keeps its own."""
    if short_name(text, dataset) != text:
        return text
    base, *changed = text.split("+")
    kept = [c for c in changed if changes(c.partition("=")[0], dataset, arm)]
    return "+".join([base, *kept])


@cache
def nearer_to_released(base: str, other: str, name: str) -> bool:
    """Whether ``base`` has the released value of a field, or else an earlier one."""
    one, two = value_of(base, name), value_of(other, name)
    released = spelled(getattr(PROTOCOLS["released"], name))
    order = [released, *map(spelled, about(name)["allowed"])]
    return order.index(one) < order.index(two)


def value_of(text: str, name: str) -> str:
    """The value of a field in a protocol, as it is written in names."""
    return spelled(getattr(protocol_of(text), name))


def arm_effects(evidence: Evidence, arm: str, other: str, dataset: str) -> list[Effect]:
    """One arm minus another in the same runs at the headline setting, in each named
    protocol and tier."""
    found, of = [], gap(arm, other)
    for (text, scale), runs in evidence.files.items():
        setting = runs.headline(dataset)
        pairs = [(s, of(r)) for s, r in sorted(runs.at(setting).items())]
        pairs = [pair for pair in pairs if pair[1] is not None]
        if text in PROTOCOLS and pairs:
            seeds, gaps = zip(*pairs, strict=True)
            what = f"minus {other}"
            worth = interval(gaps)
            found.append(Effect(what, text, scale, arm, setting, worth, seeds))
    return found


def short_name(text: str, dataset: str = CIFAR10) -> str:
    """A protocol's name, or for one on the walk from released to controlled, the field
    that it has reached."""
    for name, field in steps("released", "controlled", dataset):
        if text == name and "+" in name:
            return f"released, walked to {field}"
    return text


def wanted(difference: Difference) -> list[str]:
    """The protocols that would measure a finding, as `rlap run` takes them."""
    return [
        changed_name(base, {name: value})
        for name in difference.fields
        for base in ("released", "controlled")
        for value in other_values(base, name)
        if answers(difference, f"{name}={spelled(value)}")
    ]


def other_values(base: str, name: str) -> list[object]:
    """Values that a field does not have in a named protocol."""
    own = getattr(protocol_of(base), name)
    return [value for value in about(name)["allowed"] if value != own]


@cache  # it is asked a hundred thousand times
def about(name: str) -> Mapping:
    """What ``Protocol`` says of one of its fields."""
    return {f.name: f.metadata for f in fields(Protocol)}[name]


def from_tables(name: str) -> str:
    """A finding about the printed numbers, in words with numbers computed from them."""
    if name not in TABLES:
        raise ValueError(f"nothing computes {name!r} from the tables")
    return TABLES[name]()


def strongest(evidence: Evidence, arm: str = "F-FT") -> list[Effect]:
    """All effects of single fields on an arm that have seeds enough, the largest
    first."""
    names = [f.name for f in fields(Protocol)]
    found = [e for n in names for e in field_effects(evidence, n)]
    found = [e for e in found if e.arm == arm and enough(e)]
    return sorted(found, key=lambda e: -abs(float(np.nan_to_num(e.difference.mean))))
