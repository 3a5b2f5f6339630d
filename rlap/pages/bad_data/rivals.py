"""What other papers would do with the same data, beside the paper's arms
(``grids/rivals.yaml``)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from rlap.ledger.claims.quantities import gap
from rlap.ledger.evidence import SMOKE
from rlap.ledger.summary import interval
from rlap.ledger.verdicts import NOT_RUN
from rlap.pages import words
from rlap.pages.asked import Book, Table, number, table

GRIDS = ("rivals",)
KINDS = {
    "gaussian_clamped": "clamped noise",
    "symmetric_exclusive": "wrong labels",
    "human_worst": "people's labels",
}
SHOWN = {
    "F-FT": "F-FT",
    "continue": "training on",
    "retrain": "retraining on the part that was kept",
    "forget/SSD": "SSD forgets the other part",
    "forget/SCRUB": "SCRUB forgets the other part",
    "SAP": "SAP",
    "initial decayed": "training anew, on everything",
    "initial decayed/generalized loss": "the same with a robust loss",
    "initial decayed/small loss": "the same on the samples of small loss",
}


def runs(book: Book, kind: str) -> list[Mapping]:
    """The runs with one kind of bad data, by seed."""
    if kind not in KINDS:
        raise LookupError(f"no kind {kind!r} beside rivals: {', '.join(KINDS)}")
    found = [r for r in book.ledger.records
             if r["parameters"].get("arms") == "rivals" and r["tier"] != SMOKE
             and r["parameters"]["kind"] == kind]  # fmt: skip
    return sorted(found, key=lambda r: r["seed"])


@table
def rivals(book: Book) -> Table:
    """What each arm gains over the initial network, by what is wrong."""
    found = {kind: runs(book, kind) for kind in KINDS}
    lines = [
        [said, *(gained(mine, arm) for mine in found.values())]
        for arm, said in SHOWN.items()
    ]
    columns = ["what is done", *KINDS.values()]
    used = [r for mine in found.values() for r in mine]
    return Table(pd.DataFrame(lines, columns=columns), used, GRIDS)


@number
def rival(book: Book, arm: str, kind: str, other: str = "initial") -> str:
    """What an arm gains over another, in points with the interval."""
    for name in (arm, other):
        if name not in SHOWN and name != "initial":
            raise LookupError(f"no arm {name!r} beside rivals: {', '.join(SHOWN)}")
    return gained(runs(book, kind), arm, other)


def gained(found: list[Mapping], arm: str, other: str = "initial") -> str:
    """The same of these runs."""
    values = [v for r in found if (v := gap(arm, other)(r)) is not None]
    return words.gap(interval(values)) if values else NOT_RUN
