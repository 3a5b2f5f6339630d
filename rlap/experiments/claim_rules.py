"""What a claim measures in a record, and the rules that decide it over many.

A quantity is a function of one record; a rule makes a judgement of it over the seeds of
one or several settings (``rlap.experiments.verdicts`` has the statistics).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rlap.corruption import INPUT_KINDS
from rlap.experiments.evidence import Evidence, Setting, epoch_seconds, seed_mean
from rlap.experiments.protocol import protocol_of
from rlap.experiments.summary import Interval, interval
from rlap.experiments.verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    MARGIN,
    MIN_SEEDS,
    REPRODUCED,
    Judgement,
    all_of,
    corrected,
    judge_above,
    judge_none,
    not_run,
    too_few,
)
from rlap.metrics import wilson

Quantity = Callable[[Mapping], float | None]
Rule = Callable[[Evidence, str, str], Judgement]
GOOD_SHARE = 0.9
# what each arm needs between the initial training and its own. Who trains on the good
# part alone has to find it first, retraining included.
FIND = ("attribution", "partition")
BETWEEN = {
    "L-FT": (*FIND, "sensitivity", "pruning"),
    "F-FT": (*FIND, "sensitivity", "pruning"),
    "continue": (),
    "retrain": FIND,
}
IDENTICAL = 1e-3  # two standardised features that differ by less are the same


# --- quantities of one record ----------------------------------------------------


def gap(arm: str, other: str) -> Quantity:
    """Accuracy of one arm minus another's; None where the record lacks one."""

    def of(record: Mapping) -> float | None:
        arms = record["arms"]
        if arm not in arms or other not in arms:
            return None
        return arms[arm]["accuracy"] - arms[other]["accuracy"]

    return of


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


# --- rules over records ----------------------------------------------------------


def at_each(
    evidence: Evidence,
    where: tuple[str, str],
    settings: Iterable[Setting],
    of: Quantity,
) -> dict[Setting, dict[int, float]]:
    """The quantity by setting and seed, where there are any."""
    found = {}
    for setting in settings:
        seeds = {s: of(r) for s, r in evidence.at(*where, setting).items()}
        seeds = {s: v for s, v in seeds.items() if v is not None}
        if seeds:
            found[setting] = seeds
    return found


def on_average(
    settings: Sequence[Setting], of: Quantity, threshold: float, margin: float = MARGIN
) -> Rule:
    """Rule: the mean over the settings, for each seed that all of them have; no verdict
    while a setting has not been run."""

    def judge(evidence: Evidence, *where: str) -> Judgement:
        found = at_each(evidence, where, settings, of)
        judged = judge_above(seed_mean(list(found.values())), threshold, margin)
        return (
            judged if len(found) == len(settings) else partly(judged, found, settings)
        )

    return judge


def partly(judged: Judgement, found: Sequence, wanted: Sequence) -> Judgement:
    """The judgement on a claim about settings of which only some were run."""
    if not found:
        return judged
    reason = f"{len(found)} of {len(wanted)} settings run; {judged.reason}"
    return replace(judged, verdict=INCONCLUSIVE, reason=reason)


def at_every(
    settings: Sequence[Setting] | Callable[[Evidence, str, str], Sequence[Setting]],
    quantities: Mapping[str, Quantity],
    threshold: float,
    margin: float = MARGIN,
) -> Rule:
    """Rule: in every setting and for every quantity.

    One contradicts, after Holm's correction over all of them; only all together
    reproduce, which needs no correction. The interval shown is the worst one's.
    """

    def judge(evidence: Evidence, *where: str) -> Judgement:
        places = settings(evidence, *where) if callable(settings) else settings
        tests = {}
        for name, of in quantities.items():
            for setting, seeds in at_each(evidence, where, places, of).items():
                values = [v for _, v in sorted(seeds.items())]
                tests[name, setting] = judge_above(values, threshold, margin)
        if not tests:
            return not_run("no records")
        verdict = all_of(list(tests.values()))
        if verdict != REPRODUCED:
            tests = dict(zip(tests, corrected(list(tests.values())), strict=True))
            verdict = all_of(list(tests.values()))
        deciding = {k: j for k, j in tests.items() if j.verdict == verdict}
        name, setting = min(deciding, key=lambda k: deciding[k].found.mean)
        worst = deciding[name, setting]
        where_worst = f"{name}, {setting}" if name else f"{setting}"
        reason = f"worst of {len(tests)}: {where_worst}; {worst.reason}"
        ps = [j.p for j in deciding.values() if j.p is not None]
        weakest = max if verdict == REPRODUCED else min
        p = weakest(ps) if ps else None
        judged = replace(worst, verdict=verdict, reason=reason, p=p)
        wanted = [None] * (len(places) * len(quantities))
        whole = len(tests) == len(wanted) or verdict != REPRODUCED
        return judged if whole else partly(judged, list(tests), wanted)

    return judge


def flat_over(settings: Sequence[Setting]) -> Rule:
    """Rule: the straight line through F-FT's accuracy changes by less than the margin
    from the lowest level to the highest."""
    return lambda evidence, *where: flatness(evidence, where, settings)


def flatness(
    evidence: Evidence, where: tuple[str, str], settings: Sequence[Setting]
) -> Judgement:
    """The rule of ``flat_over``, for each seed that has five levels or more."""
    span = max(s.level for s in settings) - min(s.level for s in settings)
    found = at_each(evidence, where, settings, lambda r: accuracy(r, "F-FT"))
    by_seed: dict[int, list[tuple[float, float]]] = {}
    for setting, seeds in found.items():
        for seed, value in seeds.items():
            by_seed.setdefault(seed, []).append((setting.level, value))
    changes = [
        float(np.polyfit(*zip(*points, strict=True), 1)[0]) * span
        for _, points in sorted(by_seed.items())
        if len(points) >= 5
    ]
    if by_seed and not changes:
        return not_run("no seed has five levels or more")
    judged = judge_none(changes)
    return judged if len(found) == len(settings) else partly(judged, found, settings)


def accuracy(record: Mapping, arm: str) -> float | None:
    """Accuracy of an arm; None where the record lacks it."""
    return record["arms"].get(arm, {}).get("accuracy")


def identical_features(evidence: Evidence, *where: str) -> Judgement:
    """Rule: contradicted when the largest difference between standardised attribution
    and standardised activation is numerically nothing in every run."""
    settings = evidence.files.get(where, {}).values()
    runs = [r for seeds in settings for r in seeds.values()]
    found = [r["identity_difference"] for r in runs if "identity_difference" in r]
    if not found:
        return not_run("no records")
    shown = interval(found)
    if len(found) < MIN_SEEDS:
        return too_few(shown)
    same = max(found) < IDENTICAL
    reason = f"largest difference in {len(found)} runs: {max(found):.1g}"
    return Judgement(CONTRADICTED if same else REPRODUCED, reason, shown)


def takes_the_purer() -> Rule:
    """Rule: every run keeps the purer part (Wilson's interval of the share), where its
    two parts differ surely."""

    def judge(evidence: Evidence, *where: str) -> Judgement:
        settings = evidence.files.get(where, {}).items()
        runs = [r for s, seeds in settings if s.kind in INPUT_KINDS
                for r in seeds.values() if one_part_is_purer(r)]  # fmt: skip
        right = [bool(r["partition"]["oriented_right"]) for r in runs]
        if not right:
            return not_run("no run has a part that is surely purer")
        shown = Interval(sum(right) / len(right), *wilson(sum(right), len(right)),
                         len(right))  # fmt: skip
        reason = f"{sum(right)} of {len(right)} runs keep the purer part"
        if shown.n < MIN_SEEDS:
            return too_few(shown)
        enough = shown.low > GOOD_SHARE
        verdict = REPRODUCED if enough and all(right) else INCONCLUSIVE
        return Judgement(verdict if all(right) else CONTRADICTED, reason, shown)

    return judge


def one_part_is_purer(record: Mapping) -> bool:
    """Whether the shares of clean samples in the two parts of a run differ surely: a
    partition by something else than the noise keeps neither.

    Two proportions with the pooled variance, at 95 %.
    """
    found, n = record["partition"]["detection"], record["data"]["n_train"]
    kept, clean = found["retained"], (1 - record["noise"]["realised_rate"]) * n
    rest = n - kept
    if not (kept and rest):
        return False
    purity, share = found["purity"], clean / n
    other = (clean - purity * kept) / rest
    error = math.sqrt(share * (1 - share) * (1 / kept + 1 / rest))
    return abs(purity - other) > 1.96 * error


def label_noise(evidence: Evidence, *where: str) -> list[Setting]:
    """The settings with wrong labels that were run."""
    return [s for s in evidence.settings(*where) if s.kind not in INPUT_KINDS]


def near_chance(of: Quantity, margin: float) -> Rule:
    """Rule: over the settings with wrong labels, the quantity is a half, or as good."""

    def judge(evidence: Evidence, *where: str) -> Judgement:
        found = at_each(evidence, where, label_noise(evidence, *where), of)
        judged = judge_none([v - 0.5 for v in seed_mean(list(found.values()))], margin)
        if judged.found is None:
            return judged
        shown = [judged.found.mean, judged.found.low, judged.found.high]
        moved = Interval(*(v + 0.5 for v in shown), judged.found.n)
        return replace(judged, found=moved)

    return judge
