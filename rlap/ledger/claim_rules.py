"""The rules that decide a claim over many records.

A rule makes a judgement of a quantity (``rlap.ledger.quantities``) over the seeds
of one or several settings (``rlap.ledger.verdicts`` has the statistics).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rlap.corruption.corrupted import INPUT_KINDS
from rlap.ledger.evidence import Evidence, Setting, seed_mean
from rlap.ledger.quantities import Quantity, accuracy, auroc
from rlap.ledger.summary import Interval, counted, interval
from rlap.ledger.verdicts import (
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

Rule = Callable[[Evidence, str, str], Judgement]
GOOD_SHARE = 0.9
IDENTICAL = 1e-3  # two standardised features that differ by less are the same


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
        name, setting = min(deciding, key=lambda k: worst_first(deciding[k]))
        worst = deciding[name, setting]
        where_worst = f"{name}, {setting}" if name else f"{setting}"
        reason = f"worst of {len(tests)}: {where_worst}; {worst.reason}"
        ps = [j.p for j in deciding.values() if j.p is not None]
        p = max(ps, default=None) if verdict == REPRODUCED else worst.p
        judged = replace(worst, verdict=verdict, reason=reason, p=p)
        wanted = [None] * (len(places) * len(quantities))
        whole = len(tests) == len(wanted) or verdict != REPRODUCED
        return judged if whole else partly(judged, list(tests), wanted)

    return judge


def worst_first(judged: Judgement) -> tuple[float, float]:
    """How to order judgements of one verdict: what contradicts by the surest, others
    by the smallest mean."""
    surest = judged.p if judged.verdict == CONTRADICTED else 0.0
    return surest or 0.0, judged.found.mean


def beside(
    rule: Rule,
    settings: Sequence[Setting],
    quantities: Mapping[str, Quantity],
    least: float = 0.0,
) -> Rule:
    """The same rule, with the means of other quantities told in the reason.

    Where none of them reaches ``least`` in size, what the rule compares hardly acted,
    and it decides nothing: inconclusive.
    """

    def judge(evidence: Evidence, *where: str) -> Judgement:
        judged, told, largest = rule(evidence, *where), [], 0.0
        for name, of in quantities.items():
            found = at_each(evidence, where, settings, of)
            values = [v for seeds in found.values() for v in seeds.values()]
            if values:
                mean = float(np.mean(values))
                largest = max(largest, abs(mean))
                told.append(f"{name} {100 * mean:+.1f} points")
        if judged.found is None or not told:
            return judged
        reason = f"{judged.reason}; {', '.join(told)}"
        if largest < least and judged.verdict in (REPRODUCED, CONTRADICTED):
            reason += ": what is compared hardly acts"
            return replace(judged, verdict=INCONCLUSIVE, reason=reason)
        return replace(judged, reason=reason)

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


def takes_the_purer(least: float) -> Rule:
    """Rule: every run keeps the purer part (Wilson's interval of the share), where the
    partition separates: an AUROC of ``least`` or more, whichever part it calls good."""

    def judge(evidence: Evidence, *where: str) -> Judgement:
        settings = evidence.files.get(where, {}).items()
        runs = [r for s, seeds in settings if s.kind in INPUT_KINDS
                for r in seeds.values() if (auroc(r) or 0.0) >= least]  # fmt: skip
        right = [bool(r["partition"]["oriented_right"]) for r in runs]
        if not right:
            return not_run(f"no run has an AUROC of {least:g} or more")
        shown = Interval(sum(right) / len(right), *wilson(sum(right), len(right)),
                         len(right))  # fmt: skip
        reason = f"{sum(right)} of {counted(len(right), 'run')} keep the purer part"
        if shown.n < MIN_SEEDS:
            return too_few(shown)
        enough = shown.low > GOOD_SHARE
        verdict = REPRODUCED if enough and all(right) else INCONCLUSIVE
        return Judgement(verdict if all(right) else CONTRADICTED, reason, shown)

    return judge


def where_noisy_kept(
    settings: Sequence[Setting], of: Quantity, least: float, threshold: float
) -> Rule:
    """Rule: the mean over the runs that kept the noisy part lies above ``threshold``,
    where the partition separates: an AUROC of ``least`` or more."""

    def noisy(record: Mapping) -> float | None:
        found = (auroc(record) or 0.0) >= least
        swapped = found and not record["partition"]["oriented_right"]
        return of(record) if swapped else None

    def judge(evidence: Evidence, *where: str) -> Judgement:
        if not at_each(evidence, where, settings, of):
            return not_run("no records")
        judged = on_average(settings, noisy, threshold, 0.0)(evidence, *where)
        if judged.found is None:
            return not_run("no run kept the noisy part")
        return judged

    return judge


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
