"""Every row of the ledger, for its page to filter."""

from __future__ import annotations

import json

import pandas as pd

from rlap.ledger import counts, paper
from rlap.ledger.rows import Row
from rlap.ledger.verdicts import NOT_RUN
from rlap.pages import words
from rlap.pages.asked import Book
from rlap.pages.tables.told import METRIC, in_unit, method_told, reason, value_told

COLUMNS = ("table", "setting", "method", "metric", "paper", "protocol", "scale", "ours",
           "verdict", "why", "seeds", "key")  # fmt: skip


def row_told(row: Row) -> list[object]:
    """A row in ``COLUMNS``, in the words of the other pages."""
    bounds = (in_unit(row, v) for v in (row.ours, row.low, row.high))
    notes = [reason(row) if row.verdict != NOT_RUN else row.reason, row.note]
    notes.append(words.printed(f"copy of {row.copy_of}") if row.copy_of else "")
    printed = paper.by_key()[counts.key(row)].printed
    return [
        f"Table {row.table}", value_told(row, row.tier), method_told(row),
        METRIC[row.metric], printed, row.protocol, words.scale(row.tier),
        words.bounded(*bounds) if row.ours is not None else "", row.verdict,
        "; ".join(filter(None, notes)), row.n, "/".join(map(str, counts.key(row))),
    ]  # fmt: skip


def rows_script(book: Book) -> str:
    """The rows as a script that a page loads from disk: strings that repeat are
    numbered."""
    known: dict[str, int] = {}
    rows = [
        [known.setdefault(v, len(known)) if isinstance(v, str) else [v]
         for v in row_told(row)]
        for row in book.ledger.rows
    ]  # fmt: skip
    data = {"columns": COLUMNS, "words": list(known), "rows": rows}
    return f"window.rlapLedger = {json.dumps(data, separators=(',', ':'))};\n"


def rows_frame(book: Book) -> pd.DataFrame:
    """All rows, as `rlap ledger --json` has them."""
    return book.tables.rows
