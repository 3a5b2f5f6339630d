"""The rules that decide a claim over the classes forgotten.

As those of ``rlap.ledger.claims.rules``, but over seeds of one or several classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import fmean

from rlap.data.images import CIFAR10_CLASSES
from rlap.ledger.claims.rules import Rule, worst_first
from rlap.ledger.evidence import Quantity, Runs
from rlap.ledger.summary import p_told
from rlap.ledger.verdicts import (
    ALPHA,
    CONTRADICTED,
    INCONCLUSIVE,
    MARGIN,
    Judgement,
    all_of,
    judge_above,
    not_run,
)

ALL = len(CIFAR10_CLASSES)


def above(
    of: Quantity,
    threshold: float = 0.0,
    margin: float = MARGIN,
    over: Callable[[list[float]], float] = fmean,
) -> Rule:
    """Rule: surely above the threshold; contradicted: else, surely below threshold and
    margin. For each seed the mean over the classes is taken, or their worst (``min``).
    """

    def judge(runs: Runs) -> Judgement:
        found, classes = runs.values(of, over)
        judged = judge_above(found, threshold, margin)
        return of_classes(judged, classes, one_decides=over is min)

    return judge


def above_each(quantities: Mapping[str, Quantity], margin: float = MARGIN) -> Rule:
    """Rule: all of them surely above zero; one that falls short contradicts. The
    interval shown is the worst one's.

    That all hold needs no correction for their number: each is tested at 5 %, and all
    have to pass. That any one falls short needs one (Bonferroni's).
    """

    def judge(runs: Runs) -> Judgement:
        found = {name: above(of, 0.0, margin)(runs) for name, of in quantities.items()}
        if any(j.found is None for j in found.values()):
            return not_run("no records")
        verdict = all_of(list(found.values()))
        deciding = {k: j for k, j in found.items() if j.verdict == verdict}
        name = min(deciding, key=lambda k: worst_first(deciding[k]))
        worst = deciding[name]
        # those of too few seeds have no p-value
        p = max((j.p for j in deciding.values() if j.p is not None), default=None)
        reason = f"worst of {len(found)}: {name}; {worst.reason}"
        if verdict == CONTRADICTED:
            p = min(1.0, len(found) * worst.p)
            if p > ALPHA:
                verdict = INCONCLUSIVE
                reason += f", but not after Bonferroni's correction ({p_told(p)})"
        return replace(worst, verdict=verdict, p=p, reason=reason)

    return judge


def of_classes(
    judged: Judgement, classes: int, one_decides: bool = False, asked: int = ALL
) -> Judgement:
    """The judgement with the number of classes. Only all that are ``asked`` decide,
    either way; but where the worst class is asked for, any one contradicts
    (``one_decides``)."""
    if judged.found is None:
        return judged
    reason = f"{classes} of {asked} classes; {judged.reason}"
    known = classes >= asked
    known = known or (one_decides and judged.verdict == CONTRADICTED)
    return replace(
        judged, reason=reason, verdict=judged.verdict if known else INCONCLUSIVE
    )
