"""The paper's six tables beside ours: every number, the differences and the order."""

from __future__ import annotations

import pandas as pd

from rlap.ledger import orderings, paper
from rlap.ledger.cells import scale_of
from rlap.ledger.claims.quantities import accuracy, auroc
from rlap.ledger.counts import key
from rlap.ledger.paper import of_table
from rlap.ledger.rows import Row
from rlap.ledger.summary import p_told
from rlap.ledger.verdicts import NOT_RUN
from rlap.pages import words
from rlap.pages.asked import Book, Table, number, table
from rlap.pages.headline import COLOUR
from rlap.pages.html import because, lines, mark, small
from rlap.pages.tables.told import (
    METRIC,
    asked,
    best_scale,
    in_unit,
    method_told,
    reason,
    records_of,
    value_told,
    would_show,
)


def printed_accuracy(
    which: int, setting: str, method: str, criterion: str = "ours"
) -> float:
    """An accuracy of the paper as a fraction; ``LookupError`` where none is printed."""
    key = which, setting, method, criterion, "accuracy"
    if key not in paper.by_key():
        raise LookupError(f"the paper prints no accuracy at {key}")
    cell = paper.by_key()[key]
    return cell.value / paper.UNITS[cell.unit]


@number
def printed_gap(book: Book, which: str, first: str, second: str, setting: str) -> str:
    """One method minus another (as the paper's tables call them) at a setting, as
    printed: "+10.8 points"."""
    one, two = (printed_accuracy(asked(which), setting, m) for m in (first, second))
    return f"{words.points(one - two)} points"


@number
def printed_least(book: Book, which: str) -> str:
    """The smallest lead of F-FT that a table prints: over retraining at a share of
    attacked images, in Table 2 over F-FT by another criterion."""
    table = asked(which)
    found = [
        cell for cell in of_table(table)
        if cell.metric == "accuracy" and float(cell.setting_value) > 0
        and (cell.method == "f_ft" and cell.variant != "ours" if table == 2
             else cell.method == "retrain")
    ]  # fmt: skip
    leads = [
        printed_accuracy(table, c.setting_value, "f_ft")
        - printed_accuracy(table, c.setting_value, c.method, c.variant)
        for c in found
    ]
    if not leads:
        raise LookupError(f"Table {which} prints no lead of F-FT")
    return f"{words.points(min(leads))} points"


@number
def scale(book: Book, which: str) -> str:
    """The scale at which most numbers of a table were run."""
    return best_scale(book, asked(which))


@number
def table_runs(book: Book, which: str) -> str:
    """How many records stand behind a table, and their seeds."""
    return words.made_from(records_of(book, asked(which))).partition(" · ")[0]


@table
def numbers(book: Book, which: str, where: str = "") -> Table:
    """A table of the paper beside ours in each protocol that was run, a line a printed
    number. ``where``: the scale; "": the one with most runs."""
    tier = where or best_scale(book, asked(which))
    rows = book.ledger.select(table=asked(which), tier=tier)
    if not rows:
        raise LookupError(f"nothing was run at {tier!r}")
    protocols = [p for p in COLOUR if any(r.protocol == p and r.n for r in rows)]
    found: dict[tuple, dict] = {}
    for row in rows:
        printed = paper.by_key()[key(row)].printed
        line = found.setdefault(
            key(row),
            {
                "number": lines(
                    f"{method_told(row)}, {METRIC[row.metric]}",
                    small(value_told(row, tier)) if row.table < 6 else "",
                ),
                "paper": lines(printed, small(row.note) if row.note else ""),
            },
        )
        if row.protocol in protocols:
            line[row.protocol] = cell(row)
    frame = pd.DataFrame(found.values())
    return Table(frame, records_of(book, asked(which)), (f"table{which}",))


def cell(row: Row) -> str:
    """Ours with its interval, and the verdict with its reason."""
    if row.ours is None:
        return mark(NOT_RUN)
    told = words.bounded(*(in_unit(row, v) for v in (row.ours, row.low, row.high)))
    return lines(told, because(row.verdict, reason(row)))


@table
def gains(book: Book, which: str) -> Table:
    """The differences that a table implies, where they were run."""
    rows = [
        [
            lines(words.told(g.difference),
                  small(at_value(g.table, g.setting_value, g.tier))),
            words.points(g.paper),
            words.run(g.protocol, g.tier),
            words.bounded(*map(words.points, (g.ours, g.low, g.high))),
            because(g.verdict, told_by(g)),
        ]
        for g in book.ledger.gains
        if g.table == asked(which) and g.n
    ]  # fmt: skip
    frame = pd.DataFrame(
        rows, columns=["difference", "paper", "run", "ours, points", "verdict"]
    )
    return Table(frame, records_of(book, asked(which)), (f"table{which}",))


def told_by(gain) -> str:
    """Why a difference has its verdict, and what its seeds would have shown."""
    told = [gain.reason]
    if gain.p_holm is not None and "Holm" not in gain.reason:
        told.append(f"{p_told(gain.p_holm)} (Holm)")
    if gain.detectable is not None:
        size = words.fixed(100 * gain.detectable, 1)
        told.append(would_show(f"{size} points"))
    return words.told("; ".join(filter(None, [*told, f"n = {gain.n}"])))


def at_value(which: int, value: str, scale: str) -> str:
    """The setting of a difference or an order in words."""
    cells = [c for c in of_table(which) if c.setting_value == value]
    return value_told(cells[0], scale)


@table
def order(book: Book, which: str) -> Table:
    """The printed orders of a table's arms, where they were run."""
    places = list(
        dict.fromkeys(
            (r.protocol, r.tier) for r in book.ledger.select(table=asked(which))
        )
    )
    rows = [
        [
            lines(o.printed, small(at_value(o.table, o.setting_value, o.tier))),
            words.run(o.protocol, o.tier),
            because(o.verdict, words.told(f"{o.reason}; n = {o.n}")),
        ]
        for o in orderings.orderings(book.evidence, places, asked(which))
        if o.verdict != NOT_RUN
    ]
    frame = pd.DataFrame(rows, columns=["printed order", "run", "verdict"])
    return Table(frame, records_of(book, asked(which)), (f"table{which}",))


@table
def anomalies(book: Book, which: str) -> Table:
    """What the numbers of a table say against themselves."""
    mine = [a for a in paper.anomalies() if any(k[0] == asked(which) for k in a.keys)]
    rows = [[a.kind, words.printed(a.text)] for a in mine] or [["none found", ""]]
    return Table(pd.DataFrame(rows, columns=["what", "where"]))


@table
def start_quality(book: Book, which: str) -> Table:
    """How good the initial networks are and how well their partitions find the noise:
    mean and range over runs."""
    places: dict[str, list] = {}
    for r in records_of(book, asked(which)):
        places.setdefault(words.run(r["protocol"], scale_of(r)), []).append(r)
    rows = [
        [place, words.spread([accuracy(r, "initial") for r in runs], 1, 100),
         words.spread([auroc(r) for r in runs]), str(len(runs))]
        for place, runs in places.items()
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["run", "initial network, %", "AUROC", "runs"])
    return Table(frame, records_of(book, asked(which)), (f"table{which}",))
