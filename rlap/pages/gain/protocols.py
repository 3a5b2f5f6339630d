"""From the released protocol to the controlled one, a field at a time."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

import pandas as pd

from rlap.experiments.protocol import steps
from rlap.figures import GREY, WIDTH, drawing
from rlap.figures.run import BLUE, GREEN, ORANGE, PURPLE
from rlap.ledger.cells import headline
from rlap.ledger.claims.quantities import accuracy, auroc
from rlap.ledger.summary import interval, standard_error
from rlap.ledger.verdicts import ALPHA, MIN_SEEDS, NOT_RUN, holm, p_value
from rlap.pages import words
from rlap.pages.asked import (
    Book,
    Explorer,
    Picture,
    Table,
    explorer,
    number,
    picture,
    table,
)
from rlap.pages.differences import alone

ENDS = ("released", "controlled")
WALKED = ("initial", "L-FT", "F-FT", "retrain")


def walk(book: Book, scale: str = "small") -> list[dict]:
    """Each step's field and its records by seed.

    All steps speak of the same seeds: those of every step that has enough of them.
    One with fewer counts as not run.
    """
    names = list(steps(*ENDS, headline().dataset))
    runs = [book.evidence.at(name, scale, headline()) for name, _ in names]
    whole = [set(here) for here in runs if len(here) >= MIN_SEEDS]
    seeds = sorted(set.intersection(*whole)) if whole else []
    return [
        {"field": field or "released",
         "records": [here[s] for s in seeds] if set(seeds) <= set(here) else []}
        for (_, field), here in zip(names, runs, strict=True)
    ]  # fmt: skip


def moved(book: Book, arm: str, other: str = "") -> dict[str, list[float]]:
    """Field -> by how much it moved an arm, or its gap to another, by seed."""
    found: dict[str, list[float]] = {}
    before: list[float] = []
    for step in walk(book):
        here = [accuracy(r, arm) for r in step["records"]]
        if other:
            theirs = [accuracy(r, other) for r in step["records"]]
            here = [a - b for a, b in zip(here, theirs, strict=True)]
        if len(before) > 1 and here:
            change = [a - b for a, b in zip(here, before, strict=True)]
            found[step["field"]] = change
        before = here
    return found


@number
def step(book: Book, arm: str, other: str = "") -> str:
    """The step of the walk that moves an arm most, or its gap to another: of those that
    differ from zero after Holm's correction over all steps that ran."""
    changes = moved(book, arm, other)
    if not changes:
        return NOT_RUN
    found = {field: interval(change) for field, change in changes.items()}
    ps = [p_value(found[f].mean, standard_error(c), len(c)) for f, c in changes.items()]
    sure = [f for f, p in zip(changes, holm(ps), strict=True) if p <= ALPHA]
    if not sure:
        return "none is sure"
    field = max(sure, key=lambda name: abs(found[name].mean))
    return f"{words.change(field)} ({words.gap(found[field])} points)"


@number
def walked_alone(book: Book) -> str:
    """The fields of the walk that were also changed alone at the headline."""
    walked = [at["field"] for at in walk(book)]
    single = {e.what.partition("=")[0] for e in alone(book)}
    return ", ".join(words.change(f) for f in walked if f in single) or NOT_RUN


@table
def walk_steps(book: Book) -> Table:
    """The steps of the walk: what each changes, paired by seed, beside what its
    partitions found (in brackets where the noisy part was kept)."""
    changes = {arm: moved(book, arm) for arm in WALKED}
    lines, used = [], []
    for at in walk(book):
        used += at["records"]
        told = ", ".join(map(partition_told, at["records"])) or NOT_RUN
        row = {"changed": words.change(at["field"]), "AUROC by seed": told}
        for arm in WALKED:
            values = [accuracy(r, arm) for r in at["records"]]
            mean = words.fixed(100 * fmean(values), 1) if values else ""
            change = changes[arm].get(at["field"])
            told = f" ({words.gap(interval(change))})" if change else ""
            row[f"{words.arm(arm)}, %"] = mean + told
        lines.append(row)
    return Table(pd.DataFrame(lines), used, ("waterfall",), "wide")


def partition_told(record: Mapping) -> str:
    """A partition's AUROC; in brackets where the noisy part was kept."""
    area = words.fixed(auroc(record), 2)
    return area if record["partition"]["oriented_right"] else f"({area})"


@picture
def waterfall(book: Book) -> Picture:
    """Both arms at each step of the walk, and how their gap moves."""
    lines, used = [], []
    for at in walk(book):
        used += at["records"]
        ends = {a: [accuracy(r, a) for r in at["records"]] for a in ("F-FT", "retrain")}
        gaps = [a - b for a, b in zip(*ends.values(), strict=True)]
        line = {"changed": at["field"]}
        if gaps:
            found = interval(gaps)
            line |= {arm: 100 * fmean(v) for arm, v in ends.items()}
            line |= {"gap": 100 * found.mean, "low": 100 * found.low,
                     "high": 100 * found.high}  # fmt: skip
        lines.append(line)
    data = pd.DataFrame(lines)
    size = {"figsize": (WIDTH, 0.3 * len(data) + 1.2), "sharey": True}
    with drawing("", 1, 2, **size) as (figure, (left, right)):
        before = None
        for i, at in data.iterrows():
            if "gap" not in data or pd.isna(at["gap"]):
                right.text(0, i, NOT_RUN, va="center", ha="center")
                before = None  # what follows is not the worth of one field
                continue
            left.plot([at["retrain"], at["F-FT"]], [i, i], color=GREY, lw=1)
            for arm, colour in (("retrain", ORANGE), ("F-FT", BLUE)):
                left.plot(at[arm], i, "o", color=colour, ms=5,
                          label=words.arm(arm) if i == 0 else None)  # fmt: skip
            start = 0.0 if before is None else before
            up = GREEN if at["gap"] >= start else PURPLE
            colour = GREY if before is None else up
            right.barh(i, at["gap"] - start, left=start, height=0.5, color=colour)
            right.plot([at["low"], at["high"]], [i, i], color=GREY, lw=1.2)
            before = at["gap"]
        right.axvline(0, color=GREY, lw=0.8)
        left.set_yticks(range(len(data)), map(words.change, data["changed"]))
        left.invert_yaxis()
        left.set(xlabel="accuracy, %")
        right.set(xlabel="F-FT minus\nretraining, points")
        figure.legend(loc="outside upper left", ncols=2)
    return Picture(figure, data.round(4), used, ("waterfall",))


@explorer
def walk_by_step(book: Book) -> Explorer:
    """A step of the walk -> the accuracy of each arm, beside the step before."""
    lines, used, before = [], [], {}
    for i, at in enumerate(walk(book)):
        used += at["records"]
        here = {arm: 100 * fmean(accuracy(r, arm) for r in at["records"])
                for arm in WALKED if at["records"]}  # fmt: skip
        step = f"{i}. {words.change(at['field'])}" if i else "0. as released"
        lines += [(step, words.arm(arm), value, before.get(arm))
                  for arm, value in here.items()]  # fmt: skip
        before = here
    frame = pd.DataFrame(lines, columns=["changed", "what", "value", "beside"])
    return Explorer(("changed",), frame, used, ("waterfall",))
