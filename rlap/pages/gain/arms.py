"""Every arm at the headline, and what each may spend."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

import pandas as pd

from rlap.experiments.protocol import PROTOCOLS
from rlap.ledger.claims.quantities import accuracy
from rlap.ledger.summary import interval
from rlap.pages import words
from rlap.pages.asked import Book, Table, table

SCRATCH = ("initial", "retrain", "oracle")  # how arms that start anew are called
COMPARED = ("initial", "F-FT", "F-FT/clean subset", "F-FT/random subset", "continue",
            "initial decayed", "retrain", "retrain decayed")  # fmt: skip


@table
def every_arm(book: Book, scale: str = "small") -> Table:
    """Every arm that ran at the headline: accuracy with its interval."""
    places = [p for p in PROTOCOLS if book.records(p, scale)]
    runs = {p: book.records(p, scale) for p in places}
    arms = dict.fromkeys(a for found in runs.values() for r in found for a in r["arms"])
    lines = []
    for arm in arms:
        row = {"arm": words.arm(arm)}
        for protocol in places:
            values = [accuracy(r, arm) for r in runs[protocol] if arm in r["arms"]]
            row[f"{protocol}, %"] = words.accuracy(interval(values)) if values else ""
        lines.append(row)
    return Table(
        pd.DataFrame(lines), [r for f in runs.values() for r in f], ("table1",)
    )


@table
def budgets(book: Book, protocol: str) -> Table:
    """How much each arm trains: samples times epochs, alone and with the initial
    training that it starts from."""
    lines, runs = [], book.records(protocol)
    for arm in COMPARED:
        own = [r for r in runs if "history" in r["arms"].get(arm, {})]
        if own:
            samples = fmean(r["arms"][arm]["samples"] for r in own)
            alone, whole = (fmean(seen(r, arm, w) for r in own) for w in (False, True))
            lines.append([words.arm(arm), f"{samples:,.0f}", f"{alone / samples:.0f}",
                          f"{alone:,.0f}", f"{whole:,.0f}"])  # fmt: skip
    header = ["arm", "images", "epochs", "images seen", "with the initial training"]
    return Table(pd.DataFrame(lines, columns=header), runs, ("table1",))


def seen(record: Mapping, arm: str, whole: bool) -> int:
    """Samples times epochs of an arm, and with ``whole`` of the initial training, where
    it starts from that."""
    own = record["arms"][arm]
    found = own["samples"] * len(own["history"]["seconds"])
    goes_on = whole and not arm.startswith(SCRATCH)
    return found + (seen(record, "initial", False) if goes_on else 0)
