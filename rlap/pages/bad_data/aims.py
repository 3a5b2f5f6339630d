"""What `repair` was to reach, and what it reaches (``rlap.ledger.aims`` decides)."""

from __future__ import annotations

import pandas as pd

from rlap.ledger.aims import Judged, counts, judged
from rlap.ledger.summary import counted
from rlap.ledger.verdicts import NOT_RUN
from rlap.pages import words
from rlap.pages.asked import Book, Table, number, table

GRIDS = ("bad_data",)
SAID = {True: "yes", False: "no", None: "too few runs"}


def value_told(told: Judged) -> str:
    """What runs came to, its interval where there are several, and their number."""
    found = told.found
    if found is None:
        return NOT_RUN
    if told.aim.points:
        value = words.gap(found)
    else:
        ends = (words.fixed(v, 3) for v in (found.mean, found.low, found.high))
        value = words.bounded(*ends)
    worst = "the worst: " if told.settings > 1 else ""
    runs = counted(found.n, "run").replace(" ", words.SPACE)
    return f"{worst}{value} ({runs})"


def bound_told(told: Judged) -> str:
    """ "at least +4.5"."""
    aim = told.aim
    value = words.points(aim.bound) if aim.points else words.fixed(aim.bound, 3)
    return f"at {'most' if aim.most else 'least'} {value}"


@table
def aims(book: Book) -> Table:
    """Every aim, what was found, and whether that reaches it."""
    lines = [
        [each.aim.about, bound_told(each), value_told(each),
         NOT_RUN if each.found is None else SAID[each.reached]]
        for each in judged(book.ledger.records)
    ]  # fmt: skip
    columns = ["what", "aimed at", "found", "reached"]
    used = [r for r in book.ledger.records if counts(r)]
    return Table(pd.DataFrame(lines, columns=columns), used, GRIDS)


@number
def aims_reached(book: Book) -> str:
    """How many aims the runs so far reach: "9 of 20"."""
    told = [each.reached for each in judged(book.ledger.records)]
    return f"{told.count(True) or 'none'} of {len(told)}"
