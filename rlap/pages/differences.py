"""The differences between the paper's words and its code, and what each is worth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from statistics import median

import pandas as pd

from rlap.experiments.protocol import PROTOCOLS, SPEECH, Protocol, spelled
from rlap.ledger import differences
from rlap.ledger.cells import headline
from rlap.ledger.differences import Difference, Effect
from rlap.ledger.summary import counted
from rlap.ledger.verdicts import MIN_SEEDS, NOT_RUN
from rlap.pages import words
from rlap.pages.asked import Book, Table, table
from rlap.pages.cost import run_seconds
from rlap.pages.html import Html, joined, lines, mark, small, tag

GRIDS = ("differences", "waterfall", "table1", "table6")


@table
def register(book: Book, place: str = "") -> Table:
    """The differences of one place (a letter), or all, of which something is known,
    with what each is worth; see ``not_run`` for the others."""
    if place and place not in differences.PLACES:
        raise LookupError(f"no place {place!r}: {', '.join(differences.PLACES)}")
    rows = [
        [d.number, lines(d.title, how(d)), told]
        for d in differences.register()
        if place in ("", d.where) and (told := worth(book, d))
    ]
    idle = [[NOT_RUN, "", ""]]
    columns = ["no.", "difference", "effect, points"]
    frame = pd.DataFrame(rows or idle, columns=columns)
    return Table(frame, list(book.evidence), GRIDS, "register")


@table
def not_run(book: Book) -> Table:
    """The differences that no run measures: why, and what it would take to do so."""
    rows = [
        [d.number, lines(d.title, how(d)), d.none or "no run yet", would_take(book, d)]
        for d in differences.register()
        if differences.is_open(book.evidence, d)
    ]
    columns = ["no.", "difference", "why", "would take"]
    return Table(pd.DataFrame(rows, columns=columns), (), (), "register")


def would_take(book: Book, d: Difference) -> str:
    """Runs that would measure a difference, by how long those of the small network took
    with as many arms; "" for none."""
    names = differences.wanted(d)
    if not names:
        return ""
    data = SPEECH if differences.PLACES[d.where] == "speech" else d.dataset
    like = [
        run_seconds(r) for p in PROTOCOLS for r in book.evidence.runs(p, "small").all()
        if r["data"]["name"] == data and r["parameters"]["arms"] == "main"
    ]  # fmt: skip
    minutes = max(1, round(MIN_SEEDS * median(like) / 60)) if like else 0
    cost = f", about {counted(minutes, 'minute')}" if like else ""
    told = " or ".join(tag("code", name) for name in names[:2])
    return joined(f"{MIN_SEEDS} runs{cost}: ", Html(told))


def how(d: Difference) -> Html:
    """By what a difference is measured."""
    if d.fields:
        names = " and ".join(d.fields)
        return small(joined("protocol field ", tag("code", names)))
    if d.arms:
        return small(" minus ".join(map(words.arm, d.arms)))
    return small("the printed numbers" if d.tables else "all runs" * bool(d.records))


def worth(book: Book, d: Difference) -> Html:
    """What was measured of a difference; "" where nothing was."""
    told = [words.told(t) for t in differences.from_records(book.evidence, d)]
    if d.tables:
        return lines(differences.from_tables(d.tables), *told)
    found = together(differences.effects(book.evidence, d))
    if told and differences.is_open(book.evidence, d):
        return lines(*told, joined(mark(NOT_RUN), ", with this field alone"))
    return main_first([*told, *found])


def main_first(told: Sequence[str], most: int = 4) -> Html:
    """Lines, those of the small network first; of many the rest can be opened."""
    ordered = sorted(told, key=lambda t: not re.search(r", small[:,]", t))
    if len(ordered) <= most:
        return lines(*ordered)
    rest = tag("summary", f"{len(ordered) - most} more"), lines(*ordered[most:])
    return joined(lines(*ordered[:most]), tag("details", *rest))


def together(found: Sequence[Effect]) -> list[str]:
    """Measured effects in words, a line for all arms of the same runs."""
    told: dict[str, list[str]] = {}
    for e in found:
        where = [base_told(e), words.scale(e.tier)]
        if e.setting != headline(e.setting.dataset):
            where.append(words.setting(e.setting, e.tier))
        runs = f"{', '.join(where)}: {what_told(e.what)}, n = {e.difference.n}"
        told.setdefault(runs, []).append(
            f"{words.arm(e.arm)} {words.gap(e.difference)}"
        )
    return [f"{runs}: {'; '.join(arms)}" for runs, arms in told.items()]


def base_told(e: Effect) -> str:
    """The protocol that a difference starts from: "released, walked to the mask"."""
    name = differences.short_name(e.base, e.setting.dataset)
    before, walked, field = name.partition("walked to ")
    if walked:
        return f"{before}{walked}{words.change(field)}"
    named, *changes = name.split("+")
    told = " and ".join(map(words.change, changes))
    return f"{named} with {told}" if told else named


def what_told(what: str) -> str:
    """What was changed, or the arm that is subtracted, in words."""
    if what.startswith("minus "):
        return f"minus {words.arm(what.removeprefix('minus '))}"
    return words.change(what)


@table
def protocol_fields(book: Book) -> Table:
    """Every field of a protocol: what it says, and its values in the named ones."""
    rows = []
    for f in fields(Protocol):
        numbers = ", ".join(map(str, f.metadata["audit"]))
        told = lines(tag("code", f.name), small(f.metadata["meaning"]),
                     small(f"no. {numbers}") if numbers else "")  # fmt: skip
        rows.append([told, *(spelled(getattr(p, f.name)) for p in PROTOCOLS.values())])
    return Table(pd.DataFrame(rows, columns=["field", *PROTOCOLS]), (), (), "register")
