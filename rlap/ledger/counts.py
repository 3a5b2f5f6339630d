"""What many rows say together: which verdicts, why the open ones are open, and how
small a difference each design could have seen. Rows are those of ``rlap.ledger.rows``,
or anything with the same columns as attributes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median

from rlap.ledger.summary import fixed, per_cent, standard_error
from rlap.ledger.verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    MARGIN,
    MIN_SEEDS,
    NOT_RUN,
    REPRODUCED,
    VERDICTS,
)

TEST = 10_000  # images, of the paper and of ours
Z95 = 1.959963984540054


def select(rows: Sequence, **wanted: object) -> list:
    """The rows whose fields have these values; None stands for any."""
    asked = {k: v for k, v in wanted.items() if v is not None}
    return [r for r in rows if all(getattr(r, k) == v for k, v in asked.items())]


def counts(rows: Sequence) -> list[dict[str, object]]:
    """For each protocol and tier: how many rows have each verdict, and in all."""
    found: dict[tuple[str, str], dict[str, object]] = {}
    for r in rows:
        line = found.setdefault(
            (r.protocol, r.tier),
            {"protocol": r.protocol, "tier": r.tier}
            | dict.fromkeys(VERDICTS, 0)
            | {"total": 0},
        )
        line[r.verdict] += 1
        line["total"] += 1
    return list(found.values())


OPEN = ("nothing to compare", "too few seeds", "not sure")


def why_open(rows: Sequence) -> list[dict[str, object]]:
    """Inconclusive rows by protocol and tier, and why: off the paper's scale an initial
    model has nothing to be compared with; there are fewer seeds than a verdict needs;
    or the seeds differ too much."""
    found: dict[tuple[str, str], dict[str, object]] = {}
    for r in rows:
        if r.verdict == INCONCLUSIVE:
            place = {"protocol": r.protocol, "tier": r.tier}
            line = found.setdefault(
                (r.protocol, r.tier), place | dict.fromkeys(OPEN, 0)
            )
            few = OPEN[1] if r.n < MIN_SEEDS else OPEN[2]
            line[OPEN[0] if r.test == "none" else few] += 1
    return list(found.values())


def decided(rows: Sequence) -> dict[str, int]:
    """Over all protocols and tiers: how many of the paper's numbers have each verdict
    somewhere; "any", those with a verdict of any kind but "not run"; and "both", those
    reproduced in one place and contradicted in another."""
    found = {v: {key(r) for r in rows if r.verdict == v} for v in VERDICTS}
    ran = {key(r) for r in rows if r.verdict != NOT_RUN}
    both = found[REPRODUCED] & found[CONTRADICTED]
    count = {v: len(keys) for v, keys in found.items()}
    return count | {"any": len(ran), "both": len(both)}


def key(row) -> tuple:
    """Which cell of the paper a row is about."""
    return row.table, row.setting_value, row.method, row.variant, row.metric


def seen(rows: Iterable, margin: float = MARGIN) -> list[dict[str, object]]:
    """What each design could have seen: for each protocol, tier and number of seeds the
    difference in accuracy (``Gain`` rows, fractions) that could be told from none.

    ``differences`` counts the rows; ``least``, ``median`` and ``most`` are over them;
    ``within`` counts those that see a difference of the margin.
    """
    found: dict[tuple[str, str, int], list[float]] = {}
    for row in rows:
        if row.detectable is not None:
            place = row.protocol, row.tier, row.n
            found.setdefault(place, []).append(row.detectable)
    return [
        {"protocol": protocol, "tier": tier, "n": n, "differences": len(sizes)}
        | {"least": min(sizes), "median": median(sizes), "most": max(sizes)}
        | {"within": sum(size <= margin for size in sizes)}
        for (protocol, tier, n), sizes in sorted(found.items())
    ]


def single_runs(rows: Iterable) -> list[dict[str, object]]:
    """How far two single runs of one and the same thing fall apart, for each protocol
    and tier: the reason for the margin, as the paper prints single runs.

    Of the accuracies (``Row``) with three seeds or more, ``spread`` is the median
    standard deviation between seeds and ``apart`` the difference that two runs stay
    within 95 times in 100; ``sampling`` is as much from drawing ``TEST`` other test
    images alone. Fractions.
    """
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        if row.metric == "accuracy" and row.unit == "fraction" and row.n >= MIN_SEEDS:
            deviation = standard_error(row.values) * math.sqrt(row.n)
            found.setdefault((row.protocol, row.tier), []).append((deviation, row.ours))
    lines = []
    for (protocol, tier), pairs in found.items():
        deviations, means = zip(*pairs, strict=True)
        one, mean = median(deviations), median(means)
        lines.append(
            {"protocol": protocol, "tier": tier, "accuracies": len(pairs)}
            | {"spread": one, "apart": apart(one)}
            | {"sampling": apart(math.sqrt(mean * (1 - mean) / TEST))}
        )
    return lines


def apart(deviation: float) -> float:
    """Within how much two draws of one standard deviation stay 95 times in 100."""
    return Z95 * math.sqrt(2) * deviation


def amount(row, name: str = "ours", *, sign: bool = True) -> str:
    """One of a claim's numbers in its unit; "" where it has none. Points and
    correlations are differences and have a sign."""
    value = getattr(row, name)
    if value is None:
        return ""
    forms = {
        "points": f"{fixed(100 * value, 1, sign=sign)} points",
        "correlation": fixed(value, 3, sign=sign),
        "scale": fixed(value, 3, sign=sign),
        "share": per_cent(value),
        "ms": f"{1000 * value:.1f} ms",
    }
    return forms.get(row.unit, f"{value:.3g}")
