"""What all of a table shows in the same words: scales, sizes, methods, reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from rlap.ledger import paper
from rlap.ledger.cells import setting_for
from rlap.ledger.counts import key
from rlap.ledger.paper import of_table
from rlap.ledger.rows import Row
from rlap.pages import words
from rlap.pages.asked import Book

METRIC = {"accuracy": "accuracy", "precision": "precision", "f1": "F1",
          "time": "seconds an epoch", "top3_accuracy": "top-3"}  # fmt: skip


def asked(text: str) -> int:
    """The number of a table; ``LookupError`` unless it is 1 to 6."""
    if text not in "123456" or len(text) != 1:
        raise LookupError(f"the paper has no Table {text!r}")
    return int(text)


def best_scale(book: Book, which: int) -> str:
    """The scale at which most numbers of a table were run; of equals the paper's."""
    run = Counter(r.tier for r in book.ledger.select(table=which) if r.n)
    return max(run, key=lambda s: (run[s], s == "paper")) if run else "small"


def records_of(book: Book, which: int) -> list[Mapping]:
    """The records at the settings of a table."""
    at = {setting_for(cell) for cell in of_table(which)}
    places = dict.fromkeys(
        (r.protocol, r.tier) for r in book.ledger.select(table=which)
    )
    found = [r for p in places for s in at for r in book.evidence.at(*p, s).values()]
    return list({id(r): r for r in found}.values())


def value_told(row: Row | paper.Cell, scale: str) -> str:
    """What a table varies: "12,500 images (paper: 50,000)", "noise level 8"."""
    at = row.setting_value
    if row.table in (1, 2):
        return words.images(setting_for(paper_cell(row)), scale)
    if row.table == 3:
        return f"noise level {at}"
    what = {4: "the training images", 5: "the test images"}.get(row.table, "")
    return f"{words.percent(float(at), 0)} of {what} noisy" if what else ""


def paper_cell(row: Row | paper.Cell) -> paper.Cell:
    """The paper's cell that a row is about."""
    return paper.by_key()[key(row)] if isinstance(row, Row) else row


def method_told(row: Row) -> str:
    """The method, and its criterion where it is not the paper's own."""
    name = words.arm(paper.ARM[row.method])
    return name if row.variant == "ours" else f"{name} ({criterion(row.variant)})"


def criterion(name: str) -> str:
    """A criterion of the paper's Table 2 with what it ranks units by."""
    return f"{name}: {words.CRITERIA[name]}" if name in words.CRITERIA else name


def in_unit(row: Row, value: float | None) -> str:
    """A number of a row as its unit has it."""
    return words.fixed(value, {"percent": 1, "s": 2}.get(row.unit, 3))


def reason(row: Row) -> str:
    """Why a row has its verdict, with what was compared."""
    if row.tested_paper is None or row.tested_ours is None:
        return words.told(row.reason)
    form = words.points if row.test == "gain" else lambda v: words.fixed(v, 2)
    what = {"gain": "gain over the initial network, points", "value": "value",
            "pace": "multiple of the initial epoch"}[row.test]  # fmt: skip
    ours = words.bounded(
        *(form(v) for v in (row.tested_ours, row.tested_low, row.tested_high))
    )
    told = [f"{what}: paper {form(row.tested_paper)}, ours {ours}", row.reason]
    if row.detectable is not None:
        size = form(row.detectable).lstrip("+") + " points" * (row.test == "gain")
        told.append(would_show(size, factor=row.test == "pace"))
    return words.told("; ".join(filter(None, [*told, f"n = {row.n}"])))


def would_show(size: str, *, factor: bool = False) -> str:
    """What so many seeds, spread as they are, would have shown; "" for a size that is
    rounded to none.

    >>> would_show("8.5 points"), would_show("1.00", factor=True), would_show("0.0")
    ('a difference of 8.5 points would have shown', '', '')
    """
    if float(size.split()[0].replace(",", "")) == factor:
        return ""
    return f"a {'factor' if factor else 'difference'} of {size} would have shown"
