"""A claim, and the rules that decide one over the runs of a place.

A rule makes a judgement of a quantity (``rlap.ledger.claims.quantities``) over the
seeds of one or several settings of data and noise (over forgotten classes:
``rlap.ledger.claims.classes``); ``rlap.ledger.verdicts`` has the statistics. All rules
are fixed before the runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlap.corruption.corrupted import INPUT_KINDS
from rlap.experiments.protocol import CIFAR10
from rlap.ledger.cells import Setting, headline
from rlap.ledger.claims.quantities import accuracy, auroc
from rlap.ledger.evidence import Quantity, Runs
from rlap.ledger.summary import Interval, counted, fixed, interval
from rlap.ledger.verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    MARGIN,
    MIN_SEEDS,
    REPRODUCED,
    Corrected,
    Judgement,
    all_of,
    corrected,
    judge_above,
    judge_none,
    not_run,
)
from rlap.metrics import wilson

Rule = Callable[[Runs], Judgement]
Settings = Sequence[Setting] | Callable[[Runs], Sequence[Setting]]
PAPER, CONTROL = "the paper's claims", "controls"
RLAP = "RLAP"
GOOD_SHARE = 0.9
IDENTICAL = 1e-3  # two standardised features that differ by less are the same


@dataclass(frozen=True)
class Claim:
    """A claim and how it is decided.

    ``words`` in ours, ``source`` where the paper says it (for a control: why it is
    asked, if that needs saying), ``rule`` in words, ``judge`` the same in code,
    ``printed`` the paper's own figure computed from its tables, ``unit`` "points",
    "share", "ms", "correlation", "scale" (0 to 1), "deviations" (standard ones) or "".
    ``place`` is the one protocol and scale that it is about, None for all of them;
    ``about`` names the paper.
    """

    key: str
    words: str
    source: str
    rule: str
    judge: Rule
    printed: float | None = None
    unit: str = "points"
    place: tuple[str, str] | None = None
    family: str = PAPER
    about: str = RLAP


@dataclass(frozen=True, kw_only=True)
class ClaimRow(Corrected):
    """A claim in one protocol and tier; ours, low, high (cut where no value can be) and
    detectable are fractions, or seconds where the unit is "ms".

    ``about`` names the paper. Runs that forget a class have no protocol, but a
    ``network`` and, for OSP, a ``strength`` of the penalty in training.
    """

    key: str
    family: str
    words: str
    source: str
    rule: str
    unit: str
    paper: float | None
    protocol: str
    tier: str
    about: str
    network: str = ""
    strength: float | None = None


def at_headline(dataset: str = CIFAR10) -> Callable[[Runs], Sequence[Setting]]:
    """The headline setting of a place; see ``Runs.headline``."""
    return lambda runs: [runs.headline(dataset)]


def chosen(settings: Settings, runs: Runs) -> Sequence[Setting]:
    """The settings that a rule is about, at one place."""
    return settings(runs) if callable(settings) else settings


def on_average(
    settings: Settings, of: Quantity, threshold: float, margin: float = MARGIN
) -> Rule:
    """Rule: the mean over the settings, for each seed that all of them have; no verdict
    while a setting has not been run."""

    def judge(runs: Runs) -> Judgement:
        wanted = chosen(settings, runs)
        found = runs.each(wanted, of)
        judged = of_mean(found, lambda v: judge_above(v, threshold, margin))
        return elsewhere(partly(judged, found, wanted), found)

    return judge


def of_mean(
    found: Mapping[Setting, Mapping[int, float]],
    judge: Callable[[list[float]], Judgement],
) -> Judgement:
    """The judgement on the mean over settings; without one where no seed has all."""
    means = seed_mean(list(found.values()))
    return judge(means) if means or not found else not_run("no seed has all settings")


def seed_mean(seeds: Sequence[Mapping[int, float]]) -> list[float]:
    """Mean over settings of a quantity for each seed that all settings have."""
    common = set.intersection(*(set(s) for s in seeds)) if seeds else set()
    return [float(np.mean([s[seed] for s in seeds])) for seed in sorted(common)]


def partly(judged: Judgement, found: Sequence, wanted: Sequence) -> Judgement:
    """The judgement on a claim about settings, of which perhaps only some were run."""
    if judged.found is None or len(found) == len(wanted):
        return judged
    reason = f"{len(found)} of {len(wanted)} settings run; {judged.reason}"
    return replace(judged, verdict=INCONCLUSIVE, reason=reason)


def elsewhere(judged: Judgement, found: Iterable[Setting]) -> Judgement:
    """Says so where another size stands in for the headline's."""
    first, *others = [*found, None]
    full = headline()
    if first is None or others != [None] or first.size in (None, full.size):
        return judged
    if first != replace(full, size=first.size):
        return judged
    return replace(judged, reason=f"at {first.images:,} images; {judged.reason}")


def at_every(
    settings: Settings,
    quantities: Mapping[str, Quantity],
    threshold: float,
    margin: float = MARGIN,
) -> Rule:
    """Rule: in every setting and for every quantity; see ``worst_of``."""

    def judge(runs: Runs) -> Judgement:
        wanted = chosen(settings, runs)
        tests = {}
        for name, of in quantities.items():
            for setting, seeds in runs.each(wanted, of).items():
                values = [v for _, v in sorted(seeds.items())]
                where = f"{name}, {setting}" if name else f"{setting}"
                tests[where] = judge_above(values, threshold, margin)
        if not tests:
            return not_run("no records")
        judged = worst_of(tests)
        whole = [None] * (len(wanted) * len(quantities))
        return judged if judged.verdict != REPRODUCED else partly(judged, tests, whole)

    return judge


def worst_of(tests: Mapping[str, Judgement]) -> Judgement:
    """The judgement on a claim that has to hold in all of several tests, by name.

    One contradicts, after Holm's correction over all of them; only all together
    reproduce, which needs no correction. The interval shown is the worst one's.
    """
    verdict = all_of(list(tests.values()))
    if verdict != REPRODUCED:
        tests = dict(zip(tests, corrected(list(tests.values())), strict=True))
        verdict = all_of(list(tests.values()))
    deciding = {k: j for k, j in tests.items() if j.verdict == verdict}
    name = min(deciding, key=lambda k: worst_first(deciding[k]))
    worst = deciding[name]
    which = f"worst of {len(tests)}: {name}" if len(tests) > 1 else f"at {name}"
    reason = f"{which}; {worst.reason}"
    ps = [j.p for j in deciding.values() if j.p is not None]
    p = max(ps, default=None) if verdict == REPRODUCED else worst.p
    return replace(worst, verdict=verdict, reason=reason, p=p)


def worst_first(judged: Judgement) -> tuple[float, float]:
    """How to order judgements of one verdict: what contradicts by the surest, others
    by the smallest mean."""
    surest = judged.p if judged.verdict == CONTRADICTED else 0.0
    return surest or 0.0, judged.found.mean


def beside(
    rule: Rule,
    settings: Settings,
    quantities: Mapping[str, Quantity],
    least: float = 0.0,
) -> Rule:
    """The same rule, with the means of other quantities told in the reason.

    Where none of them reaches ``least`` in size, what the rule compares hardly acted,
    and it decides nothing: inconclusive.
    """

    def judge(runs: Runs) -> Judgement:
        judged, told, largest = rule(runs), [], 0.0
        for name, of in quantities.items():
            found = runs.each(chosen(settings, runs), of)
            values = [v for seeds in found.values() for v in seeds.values()]
            if values:
                mean = float(np.mean(values))
                largest = max(largest, abs(mean))
                told.append(f"{name} {fixed(100 * mean, 1, sign=True)} points")
        if judged.found is None or not told:
            return judged
        if largest < least and judged.verdict in (REPRODUCED, CONTRADICTED):
            why = "what is compared hardly acts"
            judged = replace(judged, verdict=INCONCLUSIVE, reason=why)
        return replace(judged, reason=f"{', '.join(told)}; {judged.reason}")

    return judge


def flat_over(settings: Sequence[Setting], margin: float = MARGIN) -> Rule:
    """Rule: the straight line through F-FT's accuracy changes by less than the margin
    from the lowest level to the highest, for each seed that has five levels or more."""
    span = max(s.level for s in settings) - min(s.level for s in settings)

    def judge(runs: Runs) -> Judgement:
        found = runs.each(settings, lambda r: accuracy(r, "F-FT"))
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
        return partly(judge_none(changes, margin), found, settings)

    return judge


def identical_features(runs: Runs) -> Judgement:
    """Rule: contradicted when the largest difference between standardised attribution
    and standardised activation is numerically nothing in every run. The largest of each
    seed is shown."""
    told = [r for r in runs.all() if r.get("identity_difference") is not None]
    if not told:
        return not_run("no records")
    largest: dict[int, float] = {}
    for r in told:
        largest[r["seed"]] = max(
            r["identity_difference"], largest.get(r["seed"], -math.inf)
        )
    shown, most = interval(list(largest.values())), max(largest.values())
    behind = f"{counted(len(told), 'run')} of {counted(shown.n, 'seed')}"
    verdict = CONTRADICTED if most < IDENTICAL else REPRODUCED
    reason = f"largest difference in {behind}: {most:.1g}"
    return of_seeds(Judgement(verdict, reason, shown))


def takes_the_purer(least: float) -> Rule:
    """Rule: every run keeps the purer part (Wilson's interval of the share), where the
    partition separates: an AUROC of ``least`` or more, whichever part it calls good."""

    def judge(runs: Runs) -> Judgement:
        noisy = [r for r in runs.all() if r["parameters"]["kind"] in INPUT_KINDS]
        told = [r for r in noisy if (auroc(r) or 0.0) >= least]
        right = [bool(r["partition"]["oriented_right"]) for r in told]
        if not right:
            return not_run(f"no run has an AUROC of {least:g} or more")
        n, hits, seeds = len(right), sum(right), len({r["seed"] for r in told})
        shown = Interval(hits / n, *wilson(hits, n), seeds)
        behind = f"{counted(n, 'run')} of {counted(seeds, 'seed')}"
        verdict = REPRODUCED if shown.low > GOOD_SHARE else INCONCLUSIVE
        reason = f"the purer part was kept in {hits} of {behind}"
        judged = Judgement(verdict if all(right) else CONTRADICTED, reason, shown)
        return of_seeds(judged)

    return judge


def of_seeds(judged: Judgement) -> Judgement:
    """The judgement on single runs, several of them of one seed: of fewer seeds than a
    verdict needs it is inconclusive."""
    if judged.found.n >= MIN_SEEDS:
        return judged
    reason = f"{judged.reason}; a verdict needs {MIN_SEEDS} seeds"
    return replace(judged, verdict=INCONCLUSIVE, reason=reason)


def where_noisy_kept(
    settings: Settings, of: Quantity, least: float, threshold: float
) -> Rule:
    """Rule: the mean over the runs that kept the noisy part lies above ``threshold``,
    where the partition separates: an AUROC of ``least`` or more."""

    def noisy(record: Mapping) -> float | None:
        found = (auroc(record) or 0.0) >= least
        swapped = found and not record["partition"]["oriented_right"]
        return of(record) if swapped else None

    def judge(runs: Runs) -> Judgement:
        if not runs.each(chosen(settings, runs), of):
            return not_run("no records")
        if not runs.each(chosen(settings, runs), noisy):
            return not_run("no run kept the noisy part")
        return on_average(settings, noisy, threshold, 0.0)(runs)

    return judge


def label_noise(runs: Runs) -> list[Setting]:
    """The settings with wrong labels that were run."""
    return [setting for setting in runs.found if setting.kind not in INPUT_KINDS]


def near_chance(of: Quantity, margin: float) -> Rule:
    """Rule: over the settings with wrong labels, the quantity is a half, or as good."""

    def judge(runs: Runs) -> Judgement:
        found = runs.each(label_noise(runs), of)
        judged = of_mean(found, lambda m: judge_none([v - 0.5 for v in m], margin))
        if judged.found is None:
            return judged
        shown = [judged.found.mean, judged.found.low, judged.found.high]
        moved = Interval(*(v + 0.5 for v in shown), judged.found.n)
        return replace(judged, found=moved)

    return judge
