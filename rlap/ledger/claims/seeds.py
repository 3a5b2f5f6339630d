"""Which seed moves what: runs of the rivals on one class that differ in one seed.

A run's own seed moves everything: data, networks, and with them what forgets and what
judges. Those two can be given another seed alone, beside the same networks. What was
expected of them before the runs is in ``grids/forgetting_rivals.yaml``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from rlap.experiments.parameters import RivalsParameters
from rlap.ledger.evidence import RIVALS, is_usual
from rlap.ledger.verdicts import MARGIN, MIN_SEEDS

TRAINING, FORGETTING, EXAMINING = SEEDS = ("training", "forgetting", "examining")
ASKED = {FORGETTING: "forget_seed", EXAMINING: "examine_seed"}
MEASURES = {
    "class": "forget_test",
    "others": "retain_test",
    "probe": "probe_linear_forget",
    "relearning": "relearn_fresh_head",
}
TIER = "small"  # of the grid
EXPECTED = 0.05  # by how much the judges' seed was to move relearning
NOT_COMPARED = ("original", "retrained", "retrained again", "continued")


@dataclass(frozen=True)
class Spread:
    """How far a measure of one method lies apart: standard deviation and range."""

    deviation: float
    range: float


def groups(records: Sequence[Mapping], model: str) -> dict[str, list[Mapping]]:
    """Which seed -> the runs that differ in it, of the class that has other seeds of
    methods or judges (else the notebook's own). Runs of another seed of these count
    beside others that have the same networks to a bit: another processor makes others.
    """
    mine = [r for r in records if counts(r, model)]
    apart = {s: [r for r in mine if given(r) == [k]] for s, k in ASKED.items()}
    first = next((r["parameters"] for found in apart.values() for r in found), None)
    label = first["forget"] if first else RivalsParameters().forget
    here = [r for r in mine if r["parameters"]["forget"] == label]
    plain = [r for r in here if not given(r)]
    start = [r for r in plain if first and r["seed"] == first["seed"]]
    alike = {
        name: same_networks([*start, *(r for r in found if r in here)])
        for name, found in apart.items()
    }
    return {TRAINING: plain} | {s: f if len(f) > 1 else [] for s, f in alike.items()}


def counts(record: Mapping, model: str) -> bool:
    """Whether a record is of a rivals' run with this network and, but for the seeds of
    methods and judges, the tier's own settings."""
    if record["notebook"] != RIVALS or record["parameters"]["model"] != model:
        return False
    plain = dict(record["parameters"]) | dict.fromkeys(ASKED.values())
    usual = is_usual({**record, "parameters": plain})
    return usual and record["tier"] == TIER and not record["data"]["stand_in"]


def given(record: Mapping) -> list[str]:
    """The seeds that a run was given apart from its own."""
    return [k for k in ASKED.values() if record["parameters"][k] is not None]


def same_networks(found: Sequence[Mapping]) -> list[Mapping]:
    """The largest part of the runs that share their networks."""
    digests = [tuple(sorted(r.get("networks", {}).items())) for r in found]
    most = [digest for digest, _ in Counter(digests).most_common(1)]
    return [r for r, digest in zip(found, digests, strict=True) if digest in most]


def methods(found: Mapping[str, Sequence[Mapping]]) -> list[str]:
    """The methods that all runs have."""
    every = [set(r["arms"]) for runs in found.values() for r in runs]
    first = next((r["arms"] for runs in found.values() for r in runs), ())
    return [a for a in first if a not in NOT_COMPARED and all(a in e for e in every)]


def spread(found: Sequence[Mapping], arm: str, key: str) -> Spread | None:
    """That of a measure over runs; None for fewer than two, and where relearning
    diverged in one."""
    values = [r["arms"][arm][key] for r in found]
    if len(values) < 2 or None in values:
        return None
    return Spread(stdev(values), max(values) - min(values))


def together(
    found: Mapping[str, Sequence[Mapping]], key: str
) -> dict[str, Spread | None]:
    """Which seed -> the mean of a measure's deviations and the largest of its ranges,
    over the methods that have both for every seed; None for too few runs."""
    enough = [s for s, runs in found.items() if len(runs) >= MIN_SEEDS]
    rows = [[spread(found[s], arm, key) for s in enough] for arm in methods(found)]
    whole = list(zip(*(row for row in rows if None not in row), strict=True))
    told = {
        s: Spread(fmean(v.deviation for v in row), max(v.range for v in row))
        for s, row in zip(enough, whole, strict=False)  # or no method
    }
    return {s: told.get(s) for s in found}


def smaller(found: Mapping[str, Sequence[Mapping]]) -> dict[str, bool]:
    """Measure -> whether the seed of the methods moves it less than that of training,
    as was expected; without those that have no number, all of them for too few runs."""
    rows = {name: together(found, key) for name, key in MEASURES.items()}
    pairs = {name: (row[FORGETTING], row[TRAINING]) for name, row in rows.items()}
    return {
        name: one.deviation < other.deviation
        for name, (one, other) in pairs.items()
        if one is not None and other is not None
    }


def by_the_judges(found: Mapping[str, Sequence[Mapping]]) -> float | None:
    """The deviation of relearning that the judges' seed makes; None for too few."""
    seen = together(found, MEASURES["relearning"])[EXAMINING]
    return None if seen is None else seen.deviation


def as_expected(moved: float) -> bool:
    """Whether that is what was expected, but for what counts as no difference."""
    return abs(moved - EXPECTED) <= MARGIN
