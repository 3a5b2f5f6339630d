"""The claims of the papers on forgetting, and their verdicts."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from rlap.ledger.claims import PAPER
from rlap.ledger.verdicts import MIN_SEEDS, NOT_RUN
from rlap.pages import words
from rlap.pages.asked import Book, Table, number, table
from rlap.pages.forgetting.papers import ABOUT, GRIDS, USUAL_STRENGTH, one, where
from rlap.pages.html import OWN, because, lines, mark, small
from rlap.pages.ledger.claims import rule_told


def claim_of(book: Book, key: str, network: str) -> pd.Series:
    """A claim's row on a network; of penalties the usual strength."""
    found = book.forgetting
    if key not in set(found["key"]):
        raise LookupError(f"no claim {key!r}; there is {sorted(found['key'].unique())}")
    strength = found["strength"]
    mine = found[(found["key"] == key) & (found["network"] == network)
                 & (strength.isna() | (strength == USUAL_STRENGTH))]  # fmt: skip
    if len(mine):
        return mine.iloc[0]
    row = found[found["key"] == key].iloc[0].copy()
    row[["ours", "low", "high", "n", "verdict"]] = None, None, None, 0, NOT_RUN
    return row


@number
def forgets(book: Book, key: str, network: str = "small") -> str:
    """What a claim on forgetting came to on a network."""
    return words.claim(claim_of(book, key, network))


@number
def forgets_verdict(book: Book, key: str, network: str = "small") -> str:
    """The verdict on it, in the word for its family."""
    row = claim_of(book, key, network)
    said = row["verdict"]
    return said if row["family"] == PAPER else OWN.get(said, said)


@number
def forgetting_images(book: Book) -> str:
    """How many images the networks of these runs were trained on."""
    sizes = {r["data"]["n_train"] for runs in book.places.values() for r in runs.all()}
    return " or ".join(f"{n:,}" for n in sorted(sizes)) or NOT_RUN


@table
def in_short(book: Book, *keys: str) -> Table:
    """Some claims on both networks."""
    rows = []
    for key in keys:
        row = {"claim": claim_of(book, key, "small")["words"]}
        for network in ("small", "vgg"):
            row[words.NETWORKS[network]] = verdict(claim_of(book, key, network))
        rows.append(row)
    grids = ("forgetting", "forgetting_osp", "forgetting_rivals")
    return Table(pd.DataFrame(rows), every(book), grids)


def every(book: Book) -> list[Mapping]:
    """All records on forgetting."""
    return [r for runs in book.places.values() for r in runs.all()]


def verdict(row: Mapping) -> str:
    """A verdict with what was measured."""
    own = row["family"] != PAPER
    if not row["n"]:
        return mark(NOT_RUN, own=own)
    why = f"{row['reason']}; n = {row['n']}"
    few = ""
    if row["n"] < MIN_SEEDS:
        few, _, need = row["reason"].partition("; a verdict")
        why = f"a verdict{need}"
    shown = because(row["verdict"], words.told(why), own=own, brief=few)
    return lines(words.claim(row), shown)


@table
def verdicts(book: Book, which: str) -> Table:
    """All claims of a paper and our controls on it, a column a network that was run."""
    where(book, which)
    found = book.forgetting[book.forgetting["about"] == ABOUT[which]]
    networks = [n for n in ("small", "vgg") if one(book, which, n).seeds] or ["small"]
    rows = []
    for key in found["key"].unique():
        first = found[found["key"] == key].iloc[0]
        source = first["source"]
        kind = source if first["family"] == PAPER else "control"
        rule = f"{kind}: {rule_told(first)}"
        row = {"claim": lines(first["words"], small(rule))}
        for network in networks:
            row[words.NETWORKS[network]] = verdict(claim_of(book, key, network))
        rows.append(row)
    used = [r for runs in where(book, which).values() for r in runs.all()]
    return Table(pd.DataFrame(rows), used, GRIDS[which], "claims")
