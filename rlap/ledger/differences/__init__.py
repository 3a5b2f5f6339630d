"""The register of differences: what each of them is worth, computed from records.

``differences.yml`` lists 43 findings of our audit of the released code. One with a
protocol field is measured by runs that differ in that field alone, paired by seed:
"released+shuffle=true" minus "released". Nothing here is typed: without runs it says
"not run".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files

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

ARMS = ("pruned", "L-FT", "F-FT", "retrain", "initial")
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
    """What the records say about a finding; empty when nothing was run."""
    if difference.arms:
        return arm_effects(evidence, *difference.arms, difference.dataset)
    found = [e for name in difference.fields for e in field_effects(evidence, name)]
    return [e for e in found if answers(difference, e.what)]


def answers(difference: Difference, what: str) -> bool:
    """Whether "field=value" is about the value that a finding asks for, if it does."""
    field, _, value = what.partition("=")
    return field != difference.field or difference.value in ("", value)


def field_effects(evidence: Evidence, name: str) -> list[Effect]:
    """Every two runs of which the field ``name`` alone sets one apart, in every
    setting; the one with the value that was released is the base."""
    rivals = about(name)["rivals_only"]
    arms = [f"F-FT/{rival}" for rival in RIVALS] if rivals else ARMS
    found = []
    for base, scale in evidence.files:
        for other in [text for text, tier in evidence.files if tier == scale]:
            settings = [
                setting
                for setting in evidence.settings(other, scale)
                if set_apart(base, other, setting.dataset, rivals) == {name}
            ]
            if settings and nearer_to_released(base, other, name):
                pair = (base, scale), (other, scale)
                found += between(evidence, *pair, arms, settings)
    return [replace(e, what=f"{name}={value_of(e.what, name)}") for e in found]


@cache
def set_apart(base: str, other: str, dataset: str, rivals: bool) -> set[str]:
    """The fields in which two protocols differ for the arms in question."""
    changed = protocol_of(other).changes_from(protocol_of(base))
    return {k for k in changed if rivals or acts_on(k, dataset)}


def nearer_to_released(base: str, other: str, name: str) -> bool:
    """Whether ``base`` has the released value of a field, or else an earlier one."""
    one, two = value_of(base, name), value_of(other, name)
    released = spelled(getattr(PROTOCOLS["released"], name))
    order = [released, *map(spelled, about(name)["allowed"])]
    return order.index(one) < order.index(two)


def value_of(text: str, name: str) -> str:
    """The value of a field in a protocol, as it is written in names."""
    return spelled(getattr(protocol_of(text), name))


def between(
    evidence: Evidence,
    base: tuple[str, str],
    other: tuple[str, str],
    arms: Sequence[str] = ARMS,
    settings: Sequence[Setting] | None = None,
) -> list[Effect]:
    """``other`` minus ``base`` (protocol, tier), paired by seed, for each arm, in every
    setting that both have (or in ``settings``)."""
    found = []
    for setting in evidence.settings(*other) if settings is None else settings:
        before, after = evidence.at(*base, setting), evidence.at(*other, setting)
        for arm in arms:
            seeds = [
                s
                for s in sorted(before.keys() & after.keys())
                if arm in before[s]["arms"] and arm in after[s]["arms"]
            ]
            if seeds:
                change = [
                    accuracy(after[s], arm) - accuracy(before[s], arm) for s in seeds
                ]
                worth = interval(change)
                found.append(Effect(other[0], *base, arm, setting, worth, tuple(seeds)))
    return found


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


def about(name: str) -> Mapping:
    """What ``Protocol`` says of one of its fields."""
    return {f.name: f.metadata for f in fields(Protocol)}[name]


def from_tables(name: str) -> str:
    """A finding about the printed numbers, in words with numbers computed from them."""
    if name not in TABLES:
        raise ValueError(f"nothing computes {name!r} from the tables")
    return TABLES[name]()


def strongest(evidence: Evidence, arm: str = "F-FT") -> list[Effect]:
    """All effects of single fields on an arm, the largest first."""
    names = [f.name for f in fields(Protocol)]
    found = [e for n in names for e in field_effects(evidence, n) if e.arm == arm]
    return sorted(found, key=lambda e: -abs(float(np.nan_to_num(e.difference.mean))))
