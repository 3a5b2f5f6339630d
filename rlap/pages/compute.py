"""What the page on computing shows: the bill of the records, and what each arm takes.

Machines differ several-fold, so that times are compared within a run only. As in
``rlap.pages.ledger``, functions lay out what was computed elsewhere.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from html import escape

from rlap.experiments.records import precision_of
from rlap.ledger.cells import epoch_seconds
from rlap.ledger.claims.quantities import BETWEEN, seconds_between
from rlap.ledger.evidence import NOTEBOOK
from rlap.ledger.paper import printed_saving
from rlap.ledger.summary import counted
from rlap.pages.markup import NETWORKS, html, table, table_of

# stages of forgetting that train networks: an earlier run may have trained the same
SHARED = ("original", "retraining")
# ways of counting what an arm takes, each with more of what it needs
COUNTED = (
    "an epoch, as the paper counts",
    "its own training",
    "and what comes between",
    "and the initial training",
)


def compute(records: Sequence[Mapping]) -> object:
    """Hours of computing by notebook, tier, data, device and precision."""
    bill: dict[tuple, list[float]] = {}
    for r in records:
        place = (r["notebook"], r["tier"], r["data"]["name"])
        place += (r["provenance"]["device"], precision_of(r))
        bill.setdefault(place, []).append(run_seconds(r))
    lines = [
        [*map(escape, place), str(len(s)), f"{sum(s) / len(s):.0f}",
         f"{sum(s) / 3600:.2f}"]
        for place, s in sorted(bill.items())
    ]  # fmt: skip
    total = sum(map(sum, bill.values()))
    lines.append(["all", *[""] * 4, str(len(records)), "", f"{total / 3600:.2f}"])
    header = ["notebook", "tier", "data", "device", "precision", "runs", "s a run",
              "hours"]  # fmt: skip
    return html(table(header, lines))


def run_seconds(record: Mapping) -> float:
    """Seconds that a run took; of one without a clock of its own, those of all stages
    and arms."""
    taken = record["provenance"].get("wall_seconds")
    return taken or math.fsum(record["seconds"].values())


def alike(
    records: Sequence[Mapping], notebooks: Sequence[str]
) -> dict[str, list[Mapping]]:
    """The runs of these notebooks whose times can be averaged: those of the named
    protocols, by protocol, network and tier."""
    groups: dict[str, list[Mapping]] = {}
    for r in records:
        if r["notebook"] in notebooks and "+" not in r["protocol"]:
            place = f"{r['protocol']}, {network_of(r)}, {r['tier']} tier"
            groups.setdefault(place, []).append(r)
    return dict(sorted(groups.items()))


def network_of(record: Mapping) -> str:
    """ "small network", "ResNet-18 of width 16"."""
    model, width = record["parameters"]["model"], record["parameters"].get("width")
    return NETWORKS.get(model, model) + (f" of width {width}" if width else "")


def stages(records: Sequence[Mapping], notebooks: Sequence[str]) -> object:
    """What each stage takes beside the first training of its run, which is 1: the
    median over runs."""
    groups = {
        place: [shares(r) for r in runs]
        for place, runs in alike(records, notebooks).items()
    }
    names = dict.fromkeys(n for runs in groups.values() for s in runs for n in s)
    lines = []
    for name in names:
        found = [[s[name] for s in runs if name in s] for runs in groups.values()]
        shown = [f"{statistics.median(f):.3f}" if f else "" for f in found]
        lines.append([escape(name), *shown])
    return table_of(["stage or arm", *groups], lines)


def shares(record: Mapping) -> dict[str, float]:
    """Stage -> its seconds as multiples of the first training's. Where a class is
    forgotten that is the arm's own time, whichever run trained the network."""
    stages = record["seconds"]
    own = record["arms"].get("original", {}).get("seconds")
    first = stages.get("initial", own)
    if not first:
        return {}
    kept = (name for name in stages if name.split(",")[0] not in SHARED)
    return {name: stages[name] / first for name in kept}


def parts(record: Mapping, arm: str) -> dict[str, float]:
    """What ``arm`` needs in all, from nothing, as multiples of the initial training:
    that, what comes between (see ``BETWEEN``), and its own. The tests after each epoch
    are not counted."""
    one = record["arms"]["initial"]["seconds"]
    return {
        "initial training": 1.0,
        "between": seconds_between(record, arm) / one,
        "its own training": record["arms"][arm]["seconds"] / one,
    }


def parts_by_arm(
    records: Sequence[Mapping],
) -> dict[str, dict[str, dict[str, float]]]:
    """Place -> arm -> the medians over runs of ``parts``."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for place, runs in alike(records, (NOTEBOOK,)).items():
        for arm in BETWEEN:
            each = [parts(r, arm) for r in runs if arm in r["arms"]]
            if each:
                medians = {k: statistics.median(p[k] for p in each) for k in each[0]}
                found.setdefault(place, {})[arm] = medians
    return found


def of_retraining(record: Mapping, arm: str) -> dict[str, float | None]:
    """Seconds of ``arm`` as a share of retraining's, by ``COUNTED``."""
    arms = record["arms"]
    epoch, base = (epoch_seconds(arms[a]["history"]) for a in (arm, "retrain"))
    mine, theirs = (list(parts(record, a).values()) for a in (arm, "retrain"))
    # the sums leave out the first parts of ``parts``, as COUNTED is in its order
    shares = [epoch / base if epoch and base else None]
    shares += [sum(mine[k:]) / sum(theirs[k:]) for k in (2, 1, 0)]
    return dict(zip(COUNTED, shares, strict=True))


def ways_of_counting(records: Sequence[Mapping]) -> object:
    """The time of L-FT and F-FT as a share of retraining's, the median over runs, each
    counted in four ways; above them the paper's."""
    lines = [
        ["the paper's Table 1", arm, f"{1 - printed_saving(method):.2f}", "", "", ""]
        for arm, method in (("L-FT", "l_ft"), ("F-FT", "f_ft"))
    ]
    for place, runs in alike(records, (NOTEBOOK,)).items():
        for arm in ("L-FT", "F-FT"):
            each = [of_retraining(r, arm) for r in runs if arm in r["arms"]]
            shown = []
            for way in COUNTED:
                known = [e[way] for e in each if e[way] is not None]
                shown.append(f"{statistics.median(known):.2f}" if known else "")
            lines.append([escape(place), arm, *shown])
    return html(table(["runs", "arm", *COUNTED], lines))


def time_to_accuracy(records: Sequence[Mapping]) -> object:
    """Time from nothing until an arm reaches the accuracy that retraining ends with, as
    a multiple of what retraining itself took to get there: the median over runs."""
    lines = []
    arms = ("initial", *BETWEEN)
    for place, runs in alike(records, (NOTEBOOK,)).items():
        shown = []
        for arm in arms:
            ratios = [
                (seconds_until(r, arm), seconds_until(r, "retrain"))
                for r in runs
                if arm in r["arms"]
            ]
            there = [took / own for took, own in ratios if took is not None and own]
            whole = there and len(there) == len(ratios)
            share = f"{len(there)} of {counted(len(ratios), 'run')}"
            middle = f"{statistics.median(there):.2f}" if whole else ""
            shown.append(f"{middle} <small>({share})</small>" if ratios else "")
        lines.append([escape(place), *shown])
    return table_of(["runs", *arms], lines)


def seconds_until(record: Mapping, arm: str) -> float | None:
    """Seconds from nothing until an arm first tests as well as retraining at its end;
    None if it never does."""
    target = record["arms"]["retrain"]["history"]["test_accuracy"]
    history = record["arms"][arm]["history"]
    spent = history.get("setup_seconds", 0.0) + seconds_between(record, arm)
    if arm != "initial":
        spent += record["arms"]["initial"]["seconds"]
    curve = zip(history["seconds"], history["test_accuracy"], strict=False)
    for seconds, accuracy in curve:
        spent += seconds
        if target and accuracy >= target[-1]:
            return spent
    return None
