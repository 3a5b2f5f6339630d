"""The rules by which a number or a claim gets its verdict. Fixed before the runs.

A verdict is "reproduced", "contradicted", "inconclusive" or "not run". A printed number
is the interval of all that rounds to it. Ours is the mean over n seeds with its 95 %
interval (Student's t). Below three seeds nothing is more than inconclusive. The margin,
below which a difference does not matter, is 2 percentage points (a factor of 1.2 for
times). The reason: the paper prints single runs. Of two runs of one thing, drawing the
10,000 test images alone sets accuracies near 0.5 to 0.7 apart by 1.3 to 1.4 points (95
times in 100), and the seed by more: nobody could see less than two points in its
tables (``rlap.ledger.counts.single_runs`` computes how far apart ours fall;
``rlap.ledger.rows.by_margin`` how the verdicts move with the margin).

The rule "value" is for runs of the paper's network, sizes and epochs (tier "paper").
Reproduced: our interval lies within the margin of the printed number, so that the two
are surely the same to 2 points; a wide interval cannot do that. Contradicted: our
interval lies beyond the margin, and the printed number lies outside the 95 % interval
of one more run of ours, as the paper prints single runs and a single run strays
further than a mean. Anything else is inconclusive.

The rule "gain" is for runs of another size or network. They cannot test a value, but
they can test in which direction an arm differs from the initial network of its run.
Differences are paired by seed. Where the paper prints a difference of more than the
margin: contradicted if ours surely falls short of the margin in that direction; else,
reproduced if ours surely has that direction (the interval leaves out zero). Where it
prints less, "no difference": reproduced if ours surely stays within the margin,
contradicted if it surely lies beyond. Size is not tested: a gain of 3 points
"reproduces" one of 10, as a gain.

The rule "pace" is for times, as seconds belong to a machine: a multiple of the initial
model's seconds an epoch in the same run. At the paper's scale it goes by the rule for
values, with the factor; elsewhere, where network and device are others, by the rule for
gains: faster or slower than the initial network's epoch, by more than the factor.

An initial network has nothing to be compared with, so off the paper's scale (and for
times) it stays inconclusive.

Differences between arms (gains over retraining and so on) follow the gain rule at every
tier; with Holm's correction within a family: a verdict that does not survive it at 5 %
becomes inconclusive. The order of a table's arms goes by the differences of neighbours,
without a margin (``rlap.ledger.orderings``).

Verdicts of single cells are not corrected for their number: a false "contradicted"
needs a deviation beyond chance and beyond the margin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

from rlap.ledger.summary import (
    Interval,
    interval,
    p_told,
    per_cent,
    standard_error,
)
from rlap.wording import SPACE

VERDICTS = ("reproduced", "contradicted", "inconclusive", "not run")
REPRODUCED, CONTRADICTED, INCONCLUSIVE, NOT_RUN = VERDICTS
MARGIN = 0.02  # two percentage points of accuracy, precision, recall or F1
FACTOR = 1.2  # for times
MIN_SEEDS = 3
ALPHA = 0.05
DIGITS = 9  # more than any printed number has; less than floating point keeps


@dataclass(frozen=True)
class Judgement:
    """A verdict with what it rests on.

    Attributes:
        verdict: one of ``VERDICTS``.
        reason: why, in words; "{limit}" stands for the limit, see ``worded``.
        found: our mean with its interval; None when not run.
        detectable: the smallest deviation that these n seeds, spread as they are, would
            have called contradicted (value, pace) or told from zero (gain).
        p: two-sided p-value behind the verdict, where a family is corrected; else None.
        limit: what the reason speaks of: a threshold, or the margin.
    """

    verdict: str
    reason: str
    found: Interval | None = None
    detectable: float | None = None
    p: float | None = None
    limit: float | None = None

    def worded(self, unit: str = "points") -> str:
        """The reason with its limit in a unit (those of a claim, or "factor").

        >>> Judgement(CONTRADICTED, "surely below {limit}", limit=0.02).worded()
        'surely below 2 points'
        """
        if self.limit is None:
            return self.reason
        return self.reason.replace("{limit}", limit_told(self.limit, unit))


def limit_told(limit: float, unit: str) -> str:
    """A threshold or margin in a unit.

    >>> limit_told(0, "points"), limit_told(-0.01, "points"), limit_told(1.2, "factor")
    ('zero', '-1 point', 'a factor of 1.2')
    """
    if limit == 0:
        return "zero"
    points = f"{100 * limit:g}"
    forms = {
        "points": f"{points} point" + ("" if points.strip("-") == "1" else "s"),
        "share": per_cent(limit),
        "ms": f"{1000 * limit:g}{SPACE}ms",
        "factor": f"a factor of {limit:g}",
    }
    return forms.get(unit, f"{limit:g}")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The columns that every row of the ledger ends with.

    ``ours`` is the mean of ``n`` seeds, ``low`` and ``high`` its 95 % interval; these
    and ``detectable`` are None where there are too few. ``verdict`` and ``reason`` are
    those of the ``Judgement``.
    """

    n: int
    ours: float | None
    low: float | None
    high: float | None
    verdict: str
    reason: str
    detectable: float | None


@dataclass(frozen=True, kw_only=True)
class Corrected(Judged):
    """The same for a row of a family: ``p_holm`` is its p-value after correction."""

    p_holm: float | None


def tail(
    judged: Judgement,
    shown: Interval | None = None,
    *,
    family: bool = False,
    unit: str = "points",
) -> dict[str, object]:
    """The columns of ``Judged``, or of ``Corrected`` for one of a ``family``; ``shown``
    is the interval in other units or cut to its range, if it is not the judgement's.
    ``unit`` is that of the limit in the reason."""
    shown = judged.found if shown is None else shown
    two = shown is not None and shown.n > 1
    columns = {
        "n": shown.n if shown else 0,
        "ours": tidy_float(shown.mean) if shown else None,
        "low": tidy_float(shown.low) if two else None,
        "high": tidy_float(shown.high) if two else None,
        "verdict": judged.verdict,
        "reason": judged.worded(unit),
        "detectable": tidy_float(judged.detectable) if two else None,
    }
    if family:
        columns["p_holm"] = tidy_float(judged.p) if two else None
    return columns


def tidy_float(value: float | None) -> float | None:
    """Six significant digits, as the records have.

    >>> tidy_float(2 / 3)
    0.666667
    """
    return None if value is None else float(f"{value:.6g}")


def not_run(reason: str) -> Judgement:
    """The judgement on what has no records."""
    return Judgement(NOT_RUN, reason)


def too_few(found: Interval, detectable: float | None = None) -> Judgement:
    """The judgement on fewer seeds than a verdict needs."""
    seeds = "one seed" if found.n == 1 else f"{found.n} seeds"
    reason = f"{seeds}; a verdict needs {MIN_SEEDS}"
    # without a p-value: nothing was tested, so it makes no family larger
    return Judgement(INCONCLUSIVE, reason, found, detectable)


def judge_value(
    values: Sequence[float], printed: tuple[float, float], margin: float = MARGIN
) -> Judgement:
    """The rule "value": n values against the bounds of a printed number."""
    if not values:
        return not_run("no records")
    found, (low, high) = interval(values), printed
    if found.n < MIN_SEEDS:
        return too_few(found)
    half = found.high - found.mean
    run = half * math.sqrt(found.n + 1)  # of one more run: t s sqrt(1 + 1/n)
    detectable = max(run, half + margin)
    if found.low >= low - margin and found.high <= high + margin:
        verdict, reason = REPRODUCED, "surely within {limit} of the printed number"
    elif (low > found.high + margin and low > found.mean + run) or (
        high < found.low - margin and high < found.mean - run
    ):
        verdict, reason = (
            CONTRADICTED,
            "surely off by more than {limit}, and beyond a single run",
        )
    else:
        verdict, reason = INCONCLUSIVE, "neither surely near nor surely far"
    return Judgement(verdict, reason, found, detectable, limit=margin)


def judge_pace(
    ratios: Sequence[float], printed: tuple[float, float], factor: float = FACTOR
) -> Judgement:
    """The rule "pace": multiples of the initial epoch, compared as logarithms."""
    logs = tuple(math.log(v) for v in printed)
    judged = judge_value([math.log(r) for r in ratios], logs, math.log(factor))
    return of_logarithms(judged)


def judge_faster(
    ratios: Sequence[float], printed: float, factor: float = FACTOR
) -> Judgement:
    """The rule "pace" off the paper's scale: n multiples of the initial epoch against
    the direction of a printed one."""
    logs = [math.log(r) for r in ratios]
    judged = judge_gain(logs, math.log(printed), math.log(factor))
    return of_logarithms(judged)


def of_logarithms(judged: Judgement) -> Judgement:
    """A judgement on logarithms, told in what they are logarithms of."""
    if judged.found is None:
        return judged
    mean, low, high, n = astuple(judged.found)
    wide, limit = judged.detectable, judged.limit
    return replace(
        judged,
        found=Interval(math.exp(mean), math.exp(low), math.exp(high), n),
        detectable=None if wide is None else math.exp(wide),
        limit=None if limit is None else tidy_float(math.exp(limit)),
    )


def judge_gain(
    values: Sequence[float], printed: float, margin: float = MARGIN
) -> Judgement:
    """The rule "gain": n paired differences against the direction of a printed one.

    >>> judge_gain([0.05, 0.06, 0.07], printed=0.1).verdict
    'reproduced'
    >>> judge_gain([0.005, 0.006, 0.007], printed=0.1).verdict
    'contradicted'
    """
    if not values:
        return not_run("no records")
    # as printed: 0.7954 - 0.7754 is 0.02, whatever floating point makes of it
    if round(abs(printed), DIGITS) <= round(margin, DIGITS):
        return judge_none(values, margin)
    judged = judge_above(values, 0.0, margin, flip=printed < 0, matters=True)
    words = {
        REPRODUCED: "surely the same direction",
        CONTRADICTED: "surely no such difference of more than {limit}",
        INCONCLUSIVE: "the direction is not sure",
    }
    few = judged.found.n < MIN_SEEDS
    return judged if few else replace(judged, reason=words[judged.verdict])


def judge_above(
    values: Sequence[float],
    threshold: float,
    margin: float,
    *,
    flip: bool = False,
    matters: bool = False,
) -> Judgement:
    """Whether the mean of n values lies above ``threshold``.

    reproduced: surely above it; contradicted: else, surely below ``threshold +
    margin`` (with ``matters`` this goes first: what surely stays within the margin is
    no reproduction). ``flip`` asks for below instead, mirrored at zero.
    """
    if not values:
        return not_run("no records")
    found = interval(values)
    if found.n < MIN_SEEDS:
        return too_few(found)
    sign = -1.0 if flip else 1.0
    low, high = sorted((sign * found.low, sign * found.high))
    mean, half = sign * found.mean, found.high - found.mean
    error = standard_error(values)
    p_above = p_value(mean - threshold, error, found.n)
    p_short = p_value(mean - threshold - margin, error, found.n)
    short = Judgement(CONTRADICTED, "surely below {limit}", found, half, p_short,
                      threshold + margin)  # fmt: skip
    above = Judgement(REPRODUCED, "surely above {limit}", found, half, p_above,
                      threshold)  # fmt: skip
    falls_short, lies_above = high < threshold + margin, low > threshold
    if falls_short and (matters or not lies_above):
        return short
    if lies_above:
        return above
    p = min(
        p_above if mean > threshold else 1.0,
        p_short if mean < threshold + margin else 1.0,
    )
    return Judgement(INCONCLUSIVE, "not sure either way", found, half, p)


def judge_none(values: Sequence[float], margin: float = MARGIN) -> Judgement:
    """Whether n values average to nothing that matters: within ``margin`` of zero."""
    if not values:
        return not_run("no records")
    found = interval(values)
    if found.n < MIN_SEEDS:
        return too_few(found)
    half, error = found.high - found.mean, standard_error(values)
    # of the nearer end of the margin, which the mean has to be told from
    p = p_value(abs(found.mean) - margin, error, found.n)
    if found.low >= -margin and found.high <= margin:
        text = "surely no difference of more than {limit}"
        return Judgement(REPRODUCED, text, found, half, p, margin)
    if found.low > margin or found.high < -margin:
        text = "surely a difference of more than {limit}"
        return Judgement(CONTRADICTED, text, found, half, p, margin)
    text = "a difference of more than {limit} may be there or not"
    return Judgement(INCONCLUSIVE, text, found, half, p, margin)


def all_of(judgements: Sequence[Judgement]) -> str:
    """The verdict on a claim that says "always": contradicted by one, reproduced only
    by all of them, and not run as soon as one is."""
    verdicts = {j.verdict for j in judgements}
    for verdict in (CONTRADICTED, NOT_RUN, INCONCLUSIVE):
        if verdict in verdicts or not verdicts:
            return verdict if verdicts else NOT_RUN
    return REPRODUCED


def p_value(distance: float, error: float, n: int) -> float:
    """Two-sided p-value of a mean at ``distance`` from what is tested (Student's t)."""
    if error == 0:
        return 1.0 if distance == 0 else 0.0
    from scipy.special import stdtr  # here: `rlap ledger` need not wait for scipy

    return float(2 * stdtr(n - 1, -abs(distance) / error))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given (Holm, 1979).

    >>> holm([0.5, 0.25])
    [0.5, 0.5]
    """
    order = sorted(range(len(ps)), key=ps.__getitem__)
    adjusted, running = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = running
    return adjusted


def corrected(judgements: Sequence[Judgement]) -> list[Judgement]:
    """A family of judgements after Holm's correction; those not run do not count."""
    tested = [i for i, j in enumerate(judgements) if j.p is not None]
    result = list(judgements)
    adjusted = holm([judgements[i].p for i in tested])
    for i, p in zip(tested, adjusted, strict=True):
        judged = replace(judgements[i], p=p)
        if p > ALPHA and judged.verdict in (REPRODUCED, CONTRADICTED):
            reason = f"{judged.reason}, but not after Holm's correction ({p_told(p)})"
            judged = replace(judged, verdict=INCONCLUSIVE, reason=reason)
        result[i] = judged
    return result
