"""What the book's page on forgetting a class shows, made from the records."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from statistics import fmean

from rlap.experiments.forgetting_account import median_relearning, title
from rlap.experiments.forgetting_claims import PAPER, Claim, judged
from rlap.experiments.forgetting_evidence import Place, Runs
from rlap.experiments.markup import NETWORKS, html, mark, points, table
from rlap.experiments.summary import Interval, counted, interval
from rlap.experiments.verdicts import NOT_RUN, Judgement

MEASURES = {
    "forget_test": "class",
    "retain_test": "other classes",
    "probe_linear_forget": "class, linear probe",
    "probe_nearest_mean_forget": "class, nearest mean",
    "mia_efficacy_svc_confidence": "MIA-efficacy",
    "told_from_retrain_auc": "told from retrained",
    "average_gap": "average gap",
}


def verdicts(places: Mapping[Place, Runs], notebook: str) -> object:
    """The claims of a notebook, a column of verdicts for each network and tier."""
    here = {p: runs for p, runs in places.items() if p.notebook == notebook}
    if not here:
        return html(f"<p>{mark(NOT_RUN)}: no run is recorded yet</p>")
    columns = {place: dict(judged(place, runs)) for place, runs in here.items()}
    claims = list(next(iter(columns.values())))
    rows = [
        [
            escape(claim.words),
            escape(claim.source) if claim.family == PAPER else "control",
            *(verdict(claim, found[claim]) for found in columns.values()),
            f"<small>{escape(claim.rule)}</small>",
        ]
        for claim in claims
    ]
    header = ["claim", "source", *map(heading, here), "rule"]
    return html(table(header, rows))


def heading(place: Place) -> str:
    """The network and tier over a column."""
    return f"{NETWORKS.get(place.model, place.model)}, {place.tier}"


def verdict(claim: Claim, found: Judgement) -> str:
    """A verdict with what was measured."""
    sign = mark(found.verdict, found.reason)
    if found.found is None:
        return sign
    return f"{sign}<br>{measured(found.found, claim.unit)}"


def measured(found: Interval, unit: str) -> str:
    """Mean and interval in a claim's unit."""
    scale, digits = {"points": (100, 1), "ms": (1000, 1), "share": (100, 0)}.get(
        unit, (1, 3)
    )
    mean, low, high = (
        f"{scale * v:+.{digits}f}" for v in (found.mean, found.low, found.high)
    )
    bounds = f" <small>[{low}, {high}]</small>" if found.n > 1 else ""
    word = {"points": " points", "ms": " ms", "share": " %"}.get(unit, "")
    return f"{mean}{bounds}{word}, n = {found.n}"


def arms_of(runs: Runs) -> list[str]:
    """The arms of the records, those that fewer classes have last."""
    names: dict[str, None] = {}
    for seed in runs.seeds.values():
        for record in sorted(seed.values(), key=lambda r: len(r["arms"])):
            names |= dict.fromkeys(record["arms"])
    return list(names)


def rows_of(runs: Runs, arm: str) -> list[Mapping]:
    """What the records say of an arm, one row a run that has it."""
    records = [r for seed in runs.seeds.values() for r in seed.values()]
    return [record["arms"][arm] for record in records if arm in record["arms"]]


def account(runs: Runs) -> object:
    """All methods, as differences from the retrained networks: means over classes, and
    over seeds with their interval; then seconds, data and relearning."""
    rows = []
    for arm in arms_of(runs):
        row, classes = [], 0
        for key in MEASURES:
            values, classes = runs.values(lambda r, a=arm, k=key: relative(r, a, k))
            row.append(relative_cell(values))
        found = rows_of(runs, arm)
        steps = median_relearning([a["relearn_steps"] for a in found])
        fresh = median_relearning([a["relearn_steps_fresh_head"] for a in found])
        seconds = fmean(a["seconds"] for a in found)
        shown = f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.2g}"
        rows.append(
            [escape(title(arm)), str(classes), *row, steps, fresh, shown]
            + [escape(found[0]["data"])]
        )
    header = ["method", "classes", *MEASURES.values()]
    header += ["steps to relearn", "with a new head", "seconds", "data"]
    return html(table(header, rows))


def relative_cell(values: list[float]) -> str:
    """A difference in points with its interval over seeds."""
    if not values:
        return ""
    found = interval(values)
    if found.n < 2:
        return points(found.mean)
    return f"{points(found.mean)} <small>±{100 * (found.high - found.mean):.1f}</small>"


def relative(record: Mapping, arm: str, key: str) -> float | None:
    """A measure of an arm against the retrained networks; None where it lacks one."""
    return record["arms"].get(arm, {}).get("relative", {}).get(key)


def mean_account(runs: Runs) -> dict[str, dict[str, float]]:
    """What is known of the class, by arm: means over classes and seeds that have it."""
    keys = ("forget_test", "probe_linear_forget", "probe_nearest_mean_forget")
    found = {}
    for arm in arms_of(runs):
        rows = rows_of(runs, arm)
        found[title(arm)] = {key: fmean(row[key] for row in rows) for key in keys}
    return found


def stamp(place: Place, runs: Runs) -> str:
    """What stands under a figure of several runs."""
    records = [r for seed in runs.seeds.values() for r in seed.values()]
    data = records[0]["data"]
    return " · ".join(
        [
            f"{place.tier} tier",
            f"{data['name']}, {data['n_train']:,} samples",
            NETWORKS.get(place.model, place.model),
            f"{counted(len(runs.seeds), 'seed')}, {counted(len(records), 'run')}",
        ]
    )
