"""The register of differences: what each of them is worth, computed from records.

``differences.yml`` lists 43 findings of our audit of the released code. One with a
protocol field is measured by changing that field alone: "controlled+mask=false" minus
"controlled", paired by seed. Nothing here is typed: without runs it says "not run".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files

import numpy as np
import yaml

from rlap.experiments import paper
from rlap.experiments.claim_rules import gap
from rlap.experiments.claims import RIVALS, printed_gap, printed_saving
from rlap.experiments.evidence import Evidence, Setting, headline
from rlap.experiments.protocol import (
    CIFAR10,
    PROTOCOLS,
    SPEECH,
    Protocol,
    acts_on,
    changed_name,
    protocol_of,
)
from rlap.experiments.summary import Interval, interval

NOT_RUN = "not run"
ARMS = ("F-FT", "retrain", "initial")
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
    """One finding. Exactly one of ``field``, ``arms``, ``tables`` and ``none`` is set:
    how it is measured, or why it is not."""

    number: int
    where: str
    title: str
    field: str = ""
    arms: tuple[str, str] | None = None
    tables: str = ""
    none: str = ""
    dataset: str = CIFAR10


@dataclass(frozen=True)
class Effect:
    """A measured effect: ``what`` changed against ``base``, in accuracy of an arm."""

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
    text = files("rlap.experiments").joinpath("differences.yml").read_text("utf-8")
    found = []
    for entry in yaml.safe_load(text):
        ways = [k for k in ("field", "arms", "tables", "none") if k in entry]
        if len(ways) != 1:
            raise ValueError(f"difference {entry['number']} has {len(ways)} ways")
        if "arms" in entry:
            entry["arms"] = tuple(entry["arms"])
        found.append(Difference(**entry))
    return tuple(found)


def effects(evidence: Evidence, difference: Difference) -> list[Effect]:
    """What the records say about a finding; empty when nothing was run."""
    if difference.arms:
        return arm_effects(evidence, *difference.arms, headline(difference.dataset))
    return field_effects(evidence, difference.field) if difference.field else []


def field_effects(evidence: Evidence, name: str) -> list[Effect]:
    """Every "protocol+name=value" against its named protocol, in every setting."""
    found = []
    rivals = [f"F-FT/{rival}" for rival in RIVALS]
    arms = rivals if about(name)["rivals_only"] else ARMS
    for text, scale in evidence.files:
        base, *changes = text.split("+")
        if len(changes) == 1 and changes[0].partition("=")[0] == name:
            found += between(evidence, (base, scale), (text, scale), arms)
    return found


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
                what = other[0].removeprefix(base[0] + "+")
                found.append(
                    Effect(what, base[0], base[1], arm, setting, interval(change),
                           tuple(seeds))
                )  # fmt: skip
    return found


def arm_effects(
    evidence: Evidence, arm: str, other: str, setting: Setting
) -> list[Effect]:
    """One arm minus another in the same runs, in each named protocol and tier."""
    found, of = [], gap(arm, other)
    for text, scale in evidence.files:
        runs = evidence.at(text, scale, setting).items()
        pairs = [(s, of(r)) for s, r in sorted(runs) if of(r) is not None]
        if text in PROTOCOLS and pairs:
            seeds, gaps = zip(*pairs, strict=True)
            found.append(
                Effect(
                    f"minus {other}", text, scale, arm, setting, interval(gaps), seeds
                )
            )
    return found


def accuracy(record: Mapping, arm: str) -> float:
    """Accuracy of an arm of a record."""
    return record["arms"][arm]["accuracy"]


def wanted(difference: Difference) -> list[str]:
    """The protocols that would measure a finding, as `rlap run` takes them."""
    name = difference.field
    if not name:
        return []
    return [
        changed_name(base, {name: value})
        for base in ("released", "controlled")
        for value in other_values(base, name)
    ]


def other_values(base: str, name: str) -> list[object]:
    """Values that a field does not have in a named protocol."""
    own = getattr(protocol_of(base), name)
    return [value for value in about(name)["allowed"] if value != own]


def about(name: str) -> Mapping:
    """What ``Protocol`` says of one of its fields."""
    return {f.name: f.metadata for f in fields(Protocol)}[name]


def dataset_of(difference: Difference) -> str:
    """The data set on which a finding's field acts."""
    if difference.field and not acts_on(difference.field, CIFAR10):
        return SPEECH if acts_on(difference.field, SPEECH) else CIFAR10
    return difference.dataset


def from_tables(name: str) -> str:
    """A finding about the printed numbers, in words with numbers computed from them."""
    kinds = [a.kind for a in paper.anomalies()]
    if name == "copies":
        return f"{len(paper.copies())} of {len(paper.cells())} numbers are copies"
    if name == "impossible":
        total = len(list(paper.triples()))
        return f"{kinds.count('impossible triple')} of {total} triples are impossible"
    if name == "slips":
        equal = kinds.count("F1 equal to accuracy")
        return f"{kinds.count('slip in a copy')} slip; F1 equals accuracy {equal} times"
    if name == "off_line":
        return "; ".join(a.text for a in paper.off_their_line())
    if name in ("saving_lft", "saving_fft"):
        arm = name.removeprefix("saving_").replace("ft", "_ft")
        return f"{paper.ARM[arm]} saves {printed_saving(arm):.1%} an epoch in Table 1"
    if name == "gain":
        means = [(t, printed_gap(t, "f_ft", "retrain")) for t in (1, 3, 4, 6)]
        return "F-FT minus retrain: " + ", ".join(
            f"{100 * mean:+.1f} points in Table {t}" for t, mean in means
        )
    if name == "same_times":
        times = [c.printed for c in paper.of_table(3) if c.is_time
                 and c.method == "initial"]  # fmt: skip
        most = max(set(times), key=times.count)
        return f"{most} s at {times.count(most)} of {len(times)} noise levels"
    if name == "criteria_lead":
        return criteria_lead()
    raise ValueError(f"nothing computes {name!r} from the tables")


def criteria_lead() -> str:
    """At how many sizes the paper's own criterion is first, as printed in Table 2."""
    cells = [c for c in paper.of_table(2) if c.metric == "accuracy"]
    firsts = []
    for method in ("pruned", "l_ft", "f_ft"):
        sizes = dict.fromkeys(c.setting_value for c in cells)
        best = [
            max((c for c in cells if (c.method, c.setting_value) == (method, size)),
                key=lambda c: c.value).variant
            for size in sizes
        ]  # fmt: skip
        firsts.append(f"{paper.ARM[method]} {best.count('ours')} of {len(best)}")
    return "first among five: " + ", ".join(firsts)


def strongest(evidence: Evidence, arm: str = "F-FT") -> list[Effect]:
    """All effects of single fields on an arm, the largest first."""
    names = dict.fromkeys(d.field for d in register() if d.field)
    found = [e for n in names for e in field_effects(evidence, n) if e.arm == arm]
    return sorted(found, key=lambda e: -abs(float(np.nan_to_num(e.difference.mean))))
