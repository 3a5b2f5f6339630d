"""What came of a run by what its partition did, and how much each arm trains, for the
page on gain.

As in ``rlap.pages.ledger``, functions lay out what was computed elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import product
from statistics import fmean

from rlap.experiments.protocol import PROTOCOLS, name_of
from rlap.ledger.cells import Setting, scale_of, setting_of
from rlap.ledger.claims.noise import FAIR_AUROC
from rlap.ledger.claims.quantities import accuracy, auroc, gap
from rlap.ledger.differences.findings import is_noisy_images
from rlap.ledger.evidence import Evidence
from rlap.ledger.summary import counted, interval
from rlap.pages.markup import points, table_of
from rlap.partition import STARTS

MISSED, KEPT_CLEAN, KEPT_NOISY = (
    "noise not found",
    "found, clean part kept",
    "found, noisy part kept",
)


def by_partition(
    evidence: Evidence, tier: str, arm: str, others: Sequence[str]
) -> list[dict[str, object]]:
    """A line a run on images with noise in the input, of the named protocols, in every
    setting and from either start of the mixture: the share of samples that the
    partition put on their right side, what it found (``outcome``), and ``arm`` minus
    each of ``others``."""
    found = []
    for protocol, start in product(PROTOCOLS, STARTS):
        name = name_of(f"{protocol}+start={start}")
        for setting in evidence.settings(name, tier):
            for record in evidence.at(name, tier, setting).values():
                if not is_noisy_images(record):
                    continue
                line = {"protocol": protocol, "start": start}
                line["right"] = record["partition"]["detection"]["accuracy"]
                line["outcome"] = outcome(record)
                found.append(line | {o: gap(arm, o)(record) for o in others})
    return found


def outcome(record: Mapping) -> str:
    """Whether a partition found the noise, and which part was then kept."""
    if auroc(record) < FAIR_AUROC:
        return MISSED
    return KEPT_CLEAN if record["partition"]["oriented_right"] else KEPT_NOISY


def by_outcome(
    lines: Sequence[Mapping], others: Sequence[str]
) -> dict[tuple[str, str], dict[str, list[float]]]:
    """Of ``by_partition``: (protocol, outcome) -> other arm -> a gap a run."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for protocol in PROTOCOLS:
        for name in (MISSED, KEPT_NOISY, KEPT_CLEAN):
            mine = [
                r for r in lines if (r["protocol"], r["outcome"]) == (protocol, name)
            ]
            if mine:
                found[protocol, name] = {
                    o: [r[o] for r in mine if r[o] is not None] for o in others
                }
    return found


def gaps_told(gaps: Sequence[float]) -> str:
    """Mean, range and number of gaps over runs, in points."""
    if not gaps:
        return "no such run"
    mean, low, high = (points(v) for v in (fmean(gaps), min(gaps), max(gaps)))
    return f"{mean} ({low} to {high}, {counted(len(gaps), 'run')})"


def outcome_table(
    found: Mapping[tuple[str, str], Mapping[str, Sequence[float]]],
    arm: str,
    others: Sequence[str],
) -> object:
    """What ``by_outcome`` found as a table."""
    lines = [
        [protocol, name, *(gaps_told(gaps[o]) for o in others)]
        for (protocol, name), gaps in found.items()
    ]
    header = ["protocol", "the partition", *(f"{arm} minus {o}" for o in others)]
    return table_of(header, lines)


def every_arm(evidence: Evidence, setting: Setting, scales: Sequence[str]) -> object:
    """Every arm that ran at a setting: its accuracy in per cent with a 95 % interval,
    by named protocol and scale, and how many runs have it."""
    places = {
        place: list(evidence.at(*place, setting).values())
        for place in product(PROTOCOLS, scales)
    }
    places = {place: runs for place, runs in places.items() if runs}
    arms = dict.fromkeys(a for runs in places.values() for r in runs for a in r["arms"])
    lines = []
    for arm in arms:
        scores = [
            [accuracy(r, arm) for r in runs if arm in r["arms"]]
            for runs in places.values()
        ]
        lines.append([escape(arm), *map(accuracy_told, scores)])
    header = ["arm, accuracy in %", *(f"{name}, {scale}" for name, scale in places)]
    return table_of(header, lines)


def accuracy_told(values: Sequence[float]) -> str:
    """ "70.1 [69.9, 70.3], n = 3", or nothing without values."""
    if not values:
        return ""
    found = interval(values).within(0.0, 1.0)
    return f"{found.percent()}, n = {found.n}"


SCRATCH = ("initial", "retrain", "oracle")  # how arms that start anew are called


def budgets(runs: Mapping[str, Sequence[Mapping]], arms: Sequence[str]) -> object:
    """How much each arm trains, by protocol: samples, epochs and their product, which
    as many epochs do not make equal; and the same with the initial training that it
    starts from. Means over the records."""
    lines = []
    for protocol, arm in product(runs, arms):
        own = [r for r in runs[protocol] if "history" in r["arms"].get(arm, {})]
        if not own:
            continue
        passes, whole = (fmean(images_seen(r, arm, w) for r in own) for w in (0, 1))
        samples = fmean(r["arms"][arm]["samples"] for r in own)
        lines.append(
            [protocol, arm, f"{samples:,.0f}", f"{passes / samples:.0f}",
             f"{passes:,.0f}", f"{whole:,.0f}", str(len(own))]
        )  # fmt: skip
    header = ["protocol", "arm", "samples", "epochs", "images seen",
              "with the initial training", "runs"]  # fmt: skip
    return table_of(header, lines)


def images_seen(record: Mapping, arm: str, whole: bool) -> int:
    """Samples times epochs of an arm, and with ``whole`` of the initial training, where
    it starts from that."""
    arms = record["arms"]
    seen = arms[arm]["samples"] * len(arms[arm]["history"]["seconds"])
    goes_on = whole and not arm.startswith(SCRATCH)
    return seen + (images_seen(record, "initial", False) if goes_on else 0)


def orientation(records: Sequence[Mapping]) -> object:
    """A line a run: how well its partition tells the noise, which part it kept, how
    pure that is, and what came of it."""
    lines = [
        [
            scale_of(r),
            str(setting_of(r)),
            str(r["seed"]),
            f"{auroc(r):.2f}",
            "clean" if r["partition"]["oriented_right"] else "noisy",
            f"{r['partition']['detection']['purity']:.1%}",
            *(f"{100 * r['arms'][a]['accuracy']:.1f}" if a in r["arms"] else ""
              for a in ("initial", "L-FT", "F-FT", "retrain")),
        ]
        for r in sorted(records, key=lambda r: (str(setting_of(r)), r["seed"]))
    ]  # fmt: skip
    header = ["run", "setting", "seed", "area", "part kept", "of it clean",
              "initial, %", "L-FT, %", "F-FT, %", "retrain, %"]  # fmt: skip
    return table_of(header, lines)
